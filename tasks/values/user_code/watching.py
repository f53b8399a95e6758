"""Note which files a user's code opens, so that none of them is missing from a key unnoticed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tasks.values.user_code import loading

_noted: list[set[Path]] = []


@contextmanager
def opened() -> Iterator[set[Path]]:
    """Collect the files that a user's code opens to read meanwhile, its Python files apart."""
    if not getattr(sys, "_tombola_watches", False):
        sys.addaudithook(_hook)  # which cannot be taken away: it is idle while nobody collects
        sys._tombola_watches = True  # type: ignore[attr-defined]  # noqa: SLF001
    found: set[Path] = set()
    _noted.append(found)
    try:
        yield found
    finally:
        _noted.remove(found)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _noted or not isinstance(arguments[0], str | bytes):
        return
    mode = arguments[1]
    if isinstance(mode, str) and not set(mode).isdisjoint("wax"):
        return
    path = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
    if path.suffix not in {".py", ".pyc", ".so"} and _is_asked_by_user(sys._getframe()):  # noqa: SLF001
        for found in _noted:
            found.add(path.absolute())


def _is_asked_by_user(frame: FrameType | None) -> bool:
    """Return whether a user's function calls, and not a package that reads on import."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(("importlib", "_frozen_importlib", "tasks.data.readers")):
            return False
        if name.startswith(f"{loading.PREFIX}."):
            return True
        frame = frame.f_back
    return False

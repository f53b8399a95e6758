"""States and masks as files (see `sealed`) that hold what their names say, checked at each read.

Where a reader names what its node has `nearby`, a file is looked for there first, and put there
when it was read or written. Those who look after a store itself do not.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from tombola.errors import DamagedFile
from tombola.store import layout, location
from tombola.store import tensors as sealed
from tombola.store.node_cache import Nearby
from tombola.store.publish import File, publish
from tombola.store.tensors import Arrays, seal

_CURE = "`tombola verify --repair` removes what is damaged; run the sweep again after it"


def write_state(
    store: Path, run_key: str, step: int, weights: Arrays, nearby: Nearby | None = None
) -> None:
    """Publish a run's weights and buffers after `step` iterations."""
    about = {"run": run_key, "step": step}
    _write(store / layout.state(run_key, step), seal(weights, about), nearby)


def read_state(store: Path, run_key: str, step: int, nearby: Nearby | None = None) -> Arrays:
    """Weights and buffers by name.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    about = {"run": run_key, "step": step}
    return _decode(store / layout.state(run_key, step), about, nearby)[0]


def mask_file(store: Path, key: str, kept: Arrays) -> File:
    """A mask's file, to be published: bool arrays by the name of the prunable tensor."""
    shapes = {name: list(array.shape) for name, array in kept.items()}
    about = {"mask": key, "shapes": shapes}
    return store / layout.mask(key), seal(sealed.packed(kept), about)


def write_mask(store: Path, key: str, kept: Arrays, nearby: Nearby | None = None) -> None:
    """Publish a mask."""
    _write(*mask_file(store, key, kept), nearby)


def read_mask(store: Path, key: str, nearby: Nearby | None = None) -> Arrays:
    """Bool arrays by the name of the prunable tensor.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    path = store / layout.mask(key)
    packed, about = _decode(path, {"mask": key}, nearby)
    try:
        return sealed.unpacked(packed, about.get("shapes"))
    except ValueError as error:
        raise DamagedFile(path, f"{error}; {_CURE}") from None


def write_checkpoint(store: Path, run_key: str, tensors: Arrays, about: dict[str, Any]) -> None:
    """Publish where a run could go on from; `about` is kept beside the tensors, as JSON."""
    publish(store / layout.checkpoint(run_key), seal(tensors, {"checkpoint": run_key, **about}))


def read_checkpoint(store: Path, run_key: str) -> tuple[Arrays, dict[str, Any]]:
    """The tensors of a checkpoint, and what was said beside them.

    Raises
    ------
    DamagedFile
        When the file is missing, truncated or altered.
    """
    return _decode(store / layout.checkpoint(run_key), {"checkpoint": run_key})


def _write(path: Path, content: bytes, nearby: Nearby | None) -> None:
    publish(path, content)
    if nearby is not None:
        nearby.keep(path, content)


def _decode(
    path: Path, expected: dict[str, Any], nearby: Nearby | None = None
) -> tuple[Arrays, dict[str, Any]]:
    if nearby is not None and (content := nearby.find(path)) is not None:
        with suppress(DamagedFile):
            found = _opened(path, content, expected)
            nearby.reads.node += 1
            return found
        nearby.forget(path)
    try:
        content = location.read(path)
    except FileNotFoundError:
        raise DamagedFile(path, "is missing; run the sweep again") from None
    found = _opened(path, content, expected)
    if nearby is not None:
        nearby.reads.store += 1
        nearby.keep(path, content)
    return found


def _opened(path: Path, content: bytes, expected: dict[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    try:
        tensors, about = sealed.unseal(content)
    except ValueError as error:
        raise DamagedFile(path, f"{error}; {_CURE}") from None
    if any(about.get(name) != value for name, value in expected.items()):
        raise DamagedFile(path, f"holds another value than its name says; {_CURE}")
    return tensors, about

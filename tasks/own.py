"""A user's own code by name: `module:function`, found without touching this repository.

The name and a digest of the module's file are part of the key, so that an edited function
is other work.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks import trust

FOLDER = "TOMBOLA_FOLDER"
"""Names the folder where the command was given, for workers that run in another."""


def load(name: str) -> Callable[..., Any]:
    """The function that `module:function` names.

    Raises
    ------
    ValueError
        When there is no such module or function.
    """
    trust.check(name)
    module_name, _, function = name.partition(":")
    _look_here()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"cannot import {module_name!r} of {name!r}: {error}") from None
    found: Callable[..., Any] | None = getattr(module, function, None)
    if not callable(found):
        raise ValueError(f"module {module_name!r} has no function {function!r}")
    return found


def digest(name: str) -> str:
    """First 16 hex digits of the SHA-256 of the file that defines `module:function`.

    Raises
    ------
    ValueError
        When there is no such module.
    """
    return hashlib.sha256(file(name).read_bytes()).hexdigest()[:16]


def file(name: str) -> Path:
    """The file that defines `module:function`; the module is not run for it.

    Raises
    ------
    ValueError
        When there is no such module.
    """
    module_name, _, function = name.partition(":")
    if not module_name or not function.isidentifier():
        raise ValueError(f"code of one's own is named module:function, not {name!r}")
    if "." in module_name:
        trust.check(name)  # to find a module in a package, Python runs the package
    _look_here()
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ValueError(
            f"no module {module_name!r} for {name!r}; it is looked for in the current folder "
            "and where Python finds modules (PYTHONPATH)"
        )
    return Path(spec.origin)


def _look_here() -> None:
    """The folder where the command was given comes last, behind all that is installed."""
    here = os.environ.get(FOLDER) or str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)

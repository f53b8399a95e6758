"""Command lines that run a module of this package in a child process."""

import os
import sys
from pathlib import Path

_CODE = str(Path(__file__).parents[2])


def command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment that run a module of this package.

    A module of the same name in the current folder does not take its place.
    """
    path = os.pathsep.join(filter(None, [_CODE, os.environ.get("PYTHONPATH")]))
    words = [sys.executable, "-P", "-m", module, *arguments]
    return words, {**os.environ, "PYTHONPATH": path}

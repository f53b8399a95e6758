"""Modules of ours as processes of their own."""

import os
import sys
from pathlib import Path

_CODE = str(Path(__file__).parents[1])


def command(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Words and environment that run a module of this code, whatever the current folder holds."""
    path = os.pathsep.join(filter(None, [_CODE, os.environ.get("PYTHONPATH")]))
    words = [sys.executable, "-P", "-m", module, *arguments]
    return words, {**os.environ, "PYTHONPATH": path}

"""The command line: a file for each family of commands.

A command parses its arguments, calls the library and prints. It imports heavy modules when it
runs, so that `tombola --help` is fast.
"""

import os  # noqa: I001 the commands below are in the order of --help

from tombola.cli import plan, run, chaos, check, submit, control  # noqa: F401
from tombola.cli import inspect, figures, storage, data, schema  # noqa: F401
from tombola.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    if "_TOMBOLA_COMPLETE" in os.environ:  # set by a shell that completes a command line
        from typer._completion_classes import completion_init

        completion_init()
    app()

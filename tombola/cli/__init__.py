"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

import os  # noqa: I001 the commands below are in the order of --help

from tombola.cli import run, check, submit, control  # noqa: F401
from tombola.cli import inspect, figures, storage, data, schema  # noqa: F401
from tombola.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    if "_TOMBOLA_COMPLETE" in os.environ:  # set by a shell that completes a command line
        from typer._completion_classes import completion_init

        completion_init()
    app()

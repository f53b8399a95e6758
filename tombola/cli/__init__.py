"""The command line: a file for each family of commands.

A command parses its arguments, calls the library and prints. It imports heavy modules when it
runs, so that `tombola --help` is fast.
"""

# In the order of --help.
from tombola.cli import plan, run, chaos, check, submit, control  # noqa: F401, I001
from tombola.cli import inspect, figures, storage, data, schema  # noqa: F401
from tombola.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    app()

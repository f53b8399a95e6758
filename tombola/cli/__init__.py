"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

# In the order of --help.
from tombola.cli import run, check, submit, control  # noqa: F401, I001
from tombola.cli import inspect, figures, storage, data  # noqa: F401
from tombola.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    app()

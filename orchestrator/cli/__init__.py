"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

from orchestrator.cli import running, submitting, steering, looking, drawing, keeping, data  # noqa: F401, I001 (in the order of --help)
from orchestrator.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    app()

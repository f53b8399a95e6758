"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

# In the order of --help.
from orchestrator.cli import running, checking, submitting, steering  # noqa: F401, I001
from orchestrator.cli import looking, drawing, keeping, data  # noqa: F401
from orchestrator.cli.shared import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `tombola` command."""
    app()

"""`python -m orchestrator.cli` is the `tombola` command."""

from orchestrator.cli import main

main()

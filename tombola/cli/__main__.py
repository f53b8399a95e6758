"""`python -m tombola.cli` is the `tombola` command."""

from tombola.cli import main

main()

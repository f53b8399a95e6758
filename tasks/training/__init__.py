"""The training loop and what acts inside it."""

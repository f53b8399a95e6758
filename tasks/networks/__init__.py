"""Architectures by name, and their weights at step 0."""

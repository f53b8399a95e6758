"""A store as SQL tables."""

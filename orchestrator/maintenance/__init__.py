"""Garbage collection of a store, and imports from another store."""

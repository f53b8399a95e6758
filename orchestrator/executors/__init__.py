"""Executors run packs: in this process, or on Ray."""

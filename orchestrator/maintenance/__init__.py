"""Storage that is no longer needed, and stores that are merged."""

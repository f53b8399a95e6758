"""One launch of a sweep, and what steers it."""

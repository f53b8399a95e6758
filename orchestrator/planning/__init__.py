"""Plan the least work that answers a sweep, and estimate its cost. Pure functions."""

"""The least work that answers a sweep. Pure."""

"""Run a sweep: launches, their progress, and requests to them."""

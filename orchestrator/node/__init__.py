"""Code that runs on the machines that do the work."""

"""In which order tasks run, and what follows a failure. Pure."""

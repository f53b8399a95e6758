"""Where packs run: in this process, or on Ray."""

"""Which trials of a sweep are shown together: options, curves and samples, out of SQL."""

"""Selection of the trials that a figure or a table shows: options, curves and samples."""

"""From the store to figures and tables, by SQL alone."""

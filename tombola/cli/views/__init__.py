"""What the commands print. Words and tables, no decisions."""

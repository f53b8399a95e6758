"""What runs on the machine where the work is."""

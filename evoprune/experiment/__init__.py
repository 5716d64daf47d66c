"""Reading and checking experiments."""

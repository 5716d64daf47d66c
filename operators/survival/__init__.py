"""Who passes to the next generation unchanged."""

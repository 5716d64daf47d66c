"""Repair: bring an individual back to the budget; one in, a tuple of one out."""

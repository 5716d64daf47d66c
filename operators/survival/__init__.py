"""Survival: ``survive(individuals)`` returns those that pass to the next generation unchanged."""

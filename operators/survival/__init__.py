"""Survival: ``survive(individuals)`` returns the individuals that pass on unchanged."""

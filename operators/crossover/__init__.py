"""Crossover: two parents in, two children out, changed in place."""

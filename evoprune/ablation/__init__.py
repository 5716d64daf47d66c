"""Ablations: an experiment in several variants over several seeds, compared at an equal budget."""

"""Algorithms, a file each: they choose parents, and the share of the data that children are scored on."""

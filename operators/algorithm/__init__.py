"""Algorithms, a file each: they choose parents, and the share of the data on which children are scored."""

"""Updates of the remaining weights that compensate for the removed ones, one in each file."""

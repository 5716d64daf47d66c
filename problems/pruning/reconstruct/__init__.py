"""Updates of the remaining weights that make up for those removed. A file each."""

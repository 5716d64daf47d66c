"""Algorithms: what is bred from whom, and on how much data it is scored. A file each."""

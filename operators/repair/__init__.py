"""Repair: bring an individual back to the budget; one in, a tuple of one out.

Genes with levels are moved as if they were real numbers, and then landed on levels (:mod:`operators.repair.landing`).
"""

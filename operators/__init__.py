"""Operators in DEAP's own form, one a file; setup.cfg registers them.

``low`` and ``up`` (each gene's bounds), ``weights`` (what each gene governs) and ``target``
(the budget) are supplied by the problem; every other parameter is the user's.
"""

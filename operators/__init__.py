"""Operators in DEAP's own form, one a file; setup.cfg registers them.

``low`` and ``up`` (each gene's bounds), ``starts`` (known genomes) and what else the problem supplies (pruning:
``weights``, how much each gene governs, ``target``, the budget, and ``advice``) are the problem's; ``population``,
``mate_probability`` and ``mutate_probability`` are the experiment's. Every other parameter is the user's.
"""

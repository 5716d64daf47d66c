"""Operators in DEAP's own form, one a file; setup.cfg registers them.

An operator may ask, by the names of its parameters, for what the engine supplies: of the problem ``genes``,
``budget`` (None where the problem has none), ``low`` and ``up`` (each gene's bounds), ``initial_genomes`` (known
genomes) and ``prior`` (a genome that something else recommends, or None); of the experiment ``population``,
``mate_probability`` and ``mutate_probability``. Every other parameter is the user's.
"""

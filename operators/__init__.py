"""Operators in DEAP's own form, one a file; setup.cfg registers them.

The engine supplies parameters by their names, see :data:`evoprune.experiment.resolve.ALWAYS_SUPPLIED`; every other
parameter is the user's.
"""

DEFAULTS = {
    "algorithm": "generational", "select": "truncation", "mate": "blend", "mutate": "gaussian", "survive": "elitist",
}  # fmt: skip
"""The operator of each slot that an experiment leaves out."""

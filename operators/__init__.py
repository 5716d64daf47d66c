"""Operators in DEAP's own form, one a file; setup.cfg registers them.

The engine supplies parameters by their names, see :data:`evoprune.experiment.resolve.ALWAYS_SUPPLIED`; every other
parameter is the user's.
"""

OF_GENES = {
    "algorithm": "generational", "select": "truncation", "mate": "blend", "mutate": "gaussian", "survive": "elitist",
}  # fmt: skip
"""The operator of each slot that an experiment on genes leaves out; the others are of other spaces."""

OF_SPACES = {"algorithm": "generational", "select": "tournament", "survive": {"use": "elitist", "fraction": 0.1}}
OF_PERMUTATIONS = OF_SPACES | {"mate": "ordered", "mutate": "inversion"}
OF_SEQUENCES = OF_SPACES | {"mate": "messy", "mutate": "edit"}
OF_TREES = OF_SPACES | {"mate": "subtree", "mutate": "subtree"}
OF_MIXED = OF_SPACES | {"mate": "parts", "mutate": "parts"}

"""evoprune: an evolutionary framework on DEAP, first of all for pruning language models.

This module is the small public face that problems and operators may import.
"""

from evoprune.errors import InputError
from evoprune.individual import Individual
from evoprune.parameters import Fraction, Positive
from evoprune.problem import Bounds, Evaluation, Outcome, Problem, Settings
from evoprune.registry import check_plugin, find_plugin

__version__ = "0.1.0"

__all__ = [
    "Bounds",
    "Evaluation",
    "Fraction",
    "Individual",
    "InputError",
    "Outcome",
    "Positive",
    "Problem",
    "Settings",
    "__version__",
    "check_plugin",
    "find_plugin",
]

"""evoprune: an evolutionary framework on DEAP, first of all for pruning language models.

This module is the small public face that problems and operators may import.
"""

from evoprune.algorithm import Algorithm, Generation, Score
from evoprune.errors import InputError
from evoprune.experiment.registry import check_plugin, find_plugin
from evoprune.fields import Fraction, Positive
from evoprune.individual import Individual
from evoprune.numeric import finite, solve
from evoprune.private import private_folder
from evoprune.problem import Bounds, Evaluation, Exported, Outcome, Problem, Settings, Table

__version__ = "0.1.0"

__all__ = [
    "Algorithm",
    "Bounds",
    "Evaluation",
    "Exported",
    "Fraction",
    "Generation",
    "Individual",
    "InputError",
    "Outcome",
    "Positive",
    "Problem",
    "Score",
    "Settings",
    "Table",
    "__version__",
    "check_plugin",
    "find_plugin",
    "finite",
    "private_folder",
    "solve",
]

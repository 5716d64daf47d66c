"""evoprune: an evolutionary framework on DEAP, first of all for pruning language models.

This module is the public interface: all that problems and operators need to import.
"""

from evoprune.console.formatting import digits, plain
from evoprune.console.phase import Phase, is_first_process, note, steps
from evoprune.errors import InputError, Stopped
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.registry import check_plugin, find_plugin
from evoprune.experiment.registry import names as plugin_names
from evoprune.experiment.spec import Choice
from evoprune.exports.exporting import CARD, FACTS, about, described_in, load
from evoprune.files.cache import CachedFile, cache_limit
from evoprune.files.json_files import atomically, finite, read_json, write_json
from evoprune.interfaces.algorithm import Algorithm, Evaluate, Generation, Individual
from evoprune.interfaces.budget import ROUNDING, Additive, Budget, Monotone, Price, solve
from evoprune.interfaces.coupled import Coupled, Term
from evoprune.interfaces.export import (
    CHECKPOINT,
    Exported,
    Exporting,
    Measuring,
    Quantity,
    Recovering,
    Rival,
    Standing,
    Table,
)
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.parts import Finals, Foreseeing, HeldOut, Measured, Outcome, Reporting, TradeOffs
from evoprune.interfaces.planning import Plan, Planner
from evoprune.interfaces.problem import Evaluation, Problem, Settings
from evoprune.interfaces.result import Best, FinalistRow, Result
from evoprune.interfaces.schema import Checked, Fraction, Positive

__version__ = "0.1.0"

__all__ = [
    "CARD",
    "CHECKPOINT",
    "FACTS",
    "ROUNDING",
    "Additive",
    "Algorithm",
    "Best",
    "Budget",
    "CachedFile",
    "Checked",
    "Choice",
    "Coupled",
    "Evaluate",
    "Evaluation",
    "Exported",
    "Exporting",
    "FinalistRow",
    "Finals",
    "Foreseeing",
    "Fraction",
    "Gene",
    "Generation",
    "Genes",
    "HeldOut",
    "Individual",
    "InputError",
    "Measured",
    "Measuring",
    "Monotone",
    "Outcome",
    "Phase",
    "Plan",
    "Planner",
    "Positive",
    "Price",
    "Problem",
    "Quantity",
    "Recovering",
    "Reporting",
    "Result",
    "Rival",
    "Settings",
    "Standing",
    "Stopped",
    "Table",
    "Term",
    "TradeOffs",
    "__version__",
    "about",
    "atomically",
    "cache_limit",
    "check_parameters",
    "check_plugin",
    "described_in",
    "digits",
    "find_plugin",
    "finite",
    "is_first_process",
    "load",
    "note",
    "plain",
    "plugin_names",
    "read_json",
    "solve",
    "steps",
    "write_json",
]

"""evoprune: an evolutionary framework on DEAP, first of all for pruning language models.

This module is the public interface: all that problems and operators need to import.
"""

from evoprune.algorithm import Algorithm, Evaluate, Generation
from evoprune.budget import ROUNDING, Additive, Budget, Monotone, Price
from evoprune.cache import CachedFile, cache_limit
from evoprune.coupled import Coupled, Term
from evoprune.errors import InputError, Stopped
from evoprune.experiment.plugin_parameters import check_parameters
from evoprune.experiment.registry import check_plugin, find_plugin
from evoprune.experiment.registry import names as plugin_names
from evoprune.experiment.spec import Choice
from evoprune.exporting import CARD, FACTS, about, described_in, load
from evoprune.files import read_json, write_json
from evoprune.formatting import digits, plain
from evoprune.genes import Gene, Genes
from evoprune.individual import Individual
from evoprune.json_numbers import finite
from evoprune.parts import (
    CHECKPOINT,
    Exported,
    Exporting,
    Finals,
    Foreseeing,
    HeldOut,
    Measured,
    Measuring,
    Outcome,
    Recovering,
    Reporting,
    Table,
    TradeOffs,
)
from evoprune.phase import Phase, is_first_process, note, steps
from evoprune.planning import Plan, Planner
from evoprune.problem import Evaluation, Problem, Settings
from evoprune.root_finding import solve
from evoprune.schema import Checked, Fraction, Positive
from evoprune.standing import Quantity, Rival, Standing

__version__ = "0.1.0"

__all__ = [
    "CARD",
    "CHECKPOINT",
    "FACTS",
    "ROUNDING",
    "Additive",
    "Algorithm",
    "Budget",
    "CachedFile",
    "Checked",
    "Choice",
    "Coupled",
    "Evaluate",
    "Evaluation",
    "Exported",
    "Exporting",
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
    "Rival",
    "Settings",
    "Standing",
    "Stopped",
    "Table",
    "Term",
    "TradeOffs",
    "__version__",
    "about",
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

"""evoprune: evolutionary search on DEAP that makes models smaller; all that problems and operators import."""

from typing import TYPE_CHECKING, Any

from evoprune.console.formatting import digits, plain
from evoprune.console.phase import Phase, is_first_process, note, steps
from evoprune.errors import InputError, Stopped
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.registry import check_plugin, find_plugin
from evoprune.experiment.registry import names as plugin_names
from evoprune.experiment.spec import Choice
from evoprune.exports.exporting import CARD, FACTS, about, described_in, is_one_file, load
from evoprune.files.cache import CachedFile, cache_folder, cache_limit
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
from evoprune.interfaces.parts import Finals, Foreseeing, HeldOut, Measured, Outcome, Reporting, Together, TradeOffs
from evoprune.interfaces.planning import Plan, Planner
from evoprune.interfaces.problem import Evaluation, Problem, Settings
from evoprune.interfaces.result import Best, FinalistRow, Result
from evoprune.interfaces.schema import Checked, Fraction, Positive

__version__ = "0.1.0"

if TYPE_CHECKING:
    from evoprune.library import Minimum, Search, minimize


def __getattr__(name: str) -> Any:
    """The engine as a library, which brings in all of it, when it is first asked for."""
    if name not in {"Minimum", "Search", "minimize"}:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from evoprune import library

    return getattr(library, name)

"""evoprune makes models smaller by evolutionary search on DEAP. Here are the names for users and plugins.

The other names are in the modules of this package: progress of a problem in :mod:`evoprune.console.progress`, say.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evoprune.console.errors import InputError, Stopped
from evoprune.console.version import __version__ as __version__
from evoprune.interfaces.algorithm import Algorithm, Evaluate, Generation, Individual
from evoprune.interfaces.budget import Additive, Budget, Price
from evoprune.interfaces.coupled import Coupled, Term
from evoprune.interfaces.export import Exported
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.parts import Finals, Measured, Reporting
from evoprune.interfaces.planning import Plan, Planner
from evoprune.interfaces.problem import Evaluation, Fraction, Problem, Settings
from evoprune.interfaces.result import Result

if TYPE_CHECKING:
    from evoprune.api.ask_tell import Search
    from evoprune.api.library import minimize
    from evoprune.exports.exporting import load

__all__ = (
    "Additive",
    "Algorithm",
    "Budget",
    "Coupled",
    "Evaluate",
    "Evaluation",
    "Exported",
    "Finals",
    "Fraction",
    "Gene",
    "Generation",
    "Genes",
    "Individual",
    "InputError",
    "Measured",
    "Plan",
    "Planner",
    "Price",
    "Problem",
    "Reporting",
    "Result",
    "Search",
    "Settings",
    "Stopped",
    "Term",
    "load",
    "minimize",
)


_LATER = {"Search": "evoprune.api.ask_tell", "minimize": "evoprune.api.library", "load": "evoprune.exports.exporting"}
"""Names that import much of the engine, with their modules: imported at their first use."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_LATER[name]), name)

"""evoprune is evolutionary search over any genome, on DEAP; language models are its first problem.

Here are the names for users and plugins.

Helpers of plugins stand in :mod:`evoprune.plugins`, and checks for their tests in :mod:`evoprune.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evoprune.console.errors import InputError, Stopped
from evoprune.console.version import __version__
from evoprune.interfaces.algorithm import Algorithm, Evaluate, Generation, Individual
from evoprune.interfaces.budget import Additive, Budget, Price
from evoprune.interfaces.coupled import Coupled, Term
from evoprune.interfaces.export import Exported
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.parts import Finals, Measured, Reporting
from evoprune.interfaces.planning import Plan, Planner
from evoprune.interfaces.problem import Evaluation, Fraction, Problem, Settings
from evoprune.interfaces.result import Result
from evoprune.interfaces.space import Space

if TYPE_CHECKING:
    from evoprune.api.ask_tell import Search
    from evoprune.api.library import minimize
    from evoprune.api.optuna_sampler import OptunaSampler as OptunaSampler  # not in __all__: it needs optuna
    from evoprune.api.runs import Run
    from evoprune.exports.exporting import load
    from evoprune.spaces.mixed import Mixed
    from evoprune.spaces.permutation import Permutation
    from evoprune.spaces.sequence import Sequence
    from evoprune.spaces.tree import Tree

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
    "Mixed",
    "Permutation",
    "Plan",
    "Planner",
    "Price",
    "Problem",
    "Reporting",
    "Result",
    "Run",
    "Search",
    "Sequence",
    "Settings",
    "Space",
    "Stopped",
    "Term",
    "Tree",
    "load",
    "minimize",
)


_LATER = {
    "Mixed": "evoprune.spaces.mixed",
    "OptunaSampler": "evoprune.api.optuna_sampler",
    "Permutation": "evoprune.spaces.permutation",
    "Run": "evoprune.api.runs",
    "Search": "evoprune.api.ask_tell",
    "Sequence": "evoprune.spaces.sequence",
    "Tree": "evoprune.spaces.tree",
    "load": "evoprune.exports.exporting",
    "minimize": "evoprune.api.library",
}
"""Names that import much of the engine, with their modules: imported at their first use."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_LATER[name]), name)

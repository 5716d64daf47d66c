"""Problems whose bounds bind, and any that allocations are asked about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evoprune.experiment.registry import find_plugin
from evoprune.problems.language_model.allocations import ALLOCATIONS
from evoprune.problems.language_model.problem import Pruning

BOUNDS = {"sparsity": 0.5, "min_sparsity": 0.35, "max_sparsity": 0.6}
LOOSE = {"sparsity": 0.5, "min_sparsity": 0.0, "max_sparsity": 1.0}


@pytest.fixture(params=["block", "matrix"])
def bound(request: pytest.FixtureRequest, pruning: Callable[..., Pruning]) -> Pruning:
    """With genes of either kind, within bounds that bind."""
    return pruning(genes=request.param, **BOUNDS)


@pytest.fixture(params=["block", "matrix"])
def loose(request: pytest.FixtureRequest, pruning: Callable[..., Pruning]) -> Callable[..., Pruning]:
    """Makes problems with genes of either kind, whose bounds bind nowhere."""
    return lambda **settings: pruning(**{"genes": request.param} | LOOSE | settings)


@pytest.fixture
def find() -> Callable[[str, Pruning], list[float]]:
    """The allocation of a name for a problem."""
    return lambda name, problem: find_plugin(ALLOCATIONS, name)(
        problem.session.transform.transforms[0], problem.budget, problem.session.fitness.loss
    )

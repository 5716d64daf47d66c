"""Several transforms of one model as one."""

import pytest

from evoprune import InputError
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.stack import Stack
from evoprune.testing import check_budget


@pytest.fixture
def stacked(language_model):
    return language_model(transforms=["heads", "channels"]).session


def test_the_contract(stacked):
    check_transform(stacked, pairs=2)


def test_the_genes_are_those_of_all_in_their_order(stacked):
    assert isinstance(stacked.transform, Stack)
    assert [name.split()[0] for name in stacked.transform.genes.names] == ["heads"] * 3 + ["channels"] * 3


def test_two_transforms_of_one_part_are_refused(language_model):
    with pytest.raises(InputError, match="Sublayers and Heads both change the attention of a block"):
        language_model(transforms=["sublayers", "heads"])


WIDTH = {"use": "channels", "drop": False}
KEPT = {"use": "sublayers", "keep": [0]}


def test_what_one_drops_another_may_make_narrower(language_model):
    session = language_model(transforms=[KEPT, WIDTH]).session
    check_transform(session, pairs=3)
    check_budget(session.transform.budget(PARAMETERS, None))


@pytest.mark.parametrize("unit", [WEIGHTS, PARAMETERS])
def test_what_is_dropped_costs_the_same_in_any_width(language_model, unit):
    problem = language_model(transforms=[KEPT, WIDTH], budget={"use": unit, "removed": 0.3})
    places = [problem.genes.names.index(name) for name in ("mlp 1", "channels 1")]
    genome = problem.session.transform.dense
    spent = {}
    for dropped in (0.0, 1.0):
        for width in (0.0, 2.0):
            genome[places[0]], genome[places[1]] = dropped, width
            spent[dropped, width] = problem.budget.spent(genome)
    assert spent[0.0, 0.0] > spent[0.0, 2.0] > spent[1.0, 0.0] == spent[1.0, 2.0]
    with pytest.raises(InputError, match=r"operations that .* cannot be counted yet"):
        _ = language_model(transforms=[KEPT, WIDTH], budget={"use": "operations", "removed": 0.3}).budget

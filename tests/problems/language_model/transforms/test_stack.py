"""Several transforms of one model as one, and the uniform genome, which transforms share."""

from itertools import pairwise

import pytest

from evoprune import Gene, Genes, InputError
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.transform import at_share
from evoprune.problems.language_model.transforms.weights.transform import Weights
from evoprune.testing import check_budget

WIDTH = {"use": "channels", "drop": False}
KEPT = {"use": "sublayers", "keep": [0]}


@pytest.mark.parametrize("transforms", [["heads", "channels"], [KEPT, WIDTH]])
def test_the_contract_is_kept_and_genes_follow_each_other(language_model, transforms):
    session = language_model(transforms=transforms).session
    check_transform(session, pairs=2)
    check_budget(session.transform.costs.budget(PARAMETERS, None))
    names = [gene.name for transform in session.transform.transforms for gene in transform.genes]
    assert session.transform.genes.names == names


def test_two_transforms_of_one_part_are_refused(language_model):
    with pytest.raises(InputError, match=r"Sublayers and Heads .*attention"):
        language_model(transforms=["sublayers", "heads"])


@pytest.mark.parametrize("unit", [WEIGHTS, PARAMETERS])
def test_a_dropped_part_costs_the_same_in_any_width(language_model, unit):
    problem = language_model(transforms=[KEPT, WIDTH], budget={"use": unit, "removed": 0.3})
    places = [problem.genes.names.index(name) for name in ("mlp 1", "channels 1")]
    genome = problem.session.transform.dense
    spent = {}
    for dropped in (0.0, 1.0):
        for width in (0.0, 2.0):
            genome[places[0]], genome[places[1]] = dropped, width
            spent[dropped, width] = problem.budget.spent(genome)
    assert spent[0.0, 0.0] > spent[0.0, 2.0] > spent[1.0, 0.0] == spent[1.0, 2.0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.33, 0.5, 0.9, 1.0])
def test_levels_add_up_to_the_share_and_lie_at_even_distances(share):
    genome = at_share([Gene.of_levels(str(place), ["keep", "drop"]) for place in range(30)], share)
    assert set(genome) <= {0.0, 1.0}
    assert sum(genome) == int(share * 30 + 0.5)
    gaps = [after - before for before, after in pairwise(place for place, value in enumerate(genome) if value)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_genes_of_any_range_take_the_share_of_it():
    genes = [Gene("real", 0.0, 2.0), Gene.of_levels("many", range(9)), Gene.of_levels("fixed", "x")]
    assert at_share(genes, 0.5) == [1.0, 4.0, 0.0]


class Priced(Weights):
    """Returns prices of another shape than its genes'."""

    given = None
    genes = Genes([Gene("real"), Gene.of_levels("levels", "abc")])

    def prices(self, unit):
        return self.given


@pytest.fixture
def priced(pruning, monkeypatch):
    """The transforms of a session, of which one has ``prices``."""

    def made(prices):
        monkeypatch.setattr(Priced, "given", prices)
        settings = pruning().settings
        return Session.start(settings, [(Priced, settings)]).transform

    return made


@pytest.mark.parametrize(
    "prices", [None, [-1.0, -1.0, -1.0], ([-1.0], 9.0), ([-1.0, [0, -1]], 9.0), ([[-1], -1.0], 9.0)]
)
def test_prices_of_another_shape_are_refused_with_the_name_of_their_transform(priced, prices):
    with pytest.raises(InputError, match=r"^Priced\.prices\('weights'\): expected a price for each gene"):
        priced(prices).costs.budget(WEIGHTS, None)


def test_prices_of_levels_rise_or_fall_under_a_limit(priced):
    transform = priced(([-1.0, [0.0, -2.0, -1.0]], 9.0))
    assert transform.costs.budget(WEIGHTS, None).spent([1.0, 1.0]) == 6.0
    with pytest.raises(InputError, match="gene 'levels'"):
        transform.costs.budget(WEIGHTS, 8.0)

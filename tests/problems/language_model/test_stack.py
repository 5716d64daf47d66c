"""Several transforms of one model as one."""

import pytest

from evoprune import Genes, InputError
from problems.language_model.stack import Stack
from problems.language_model.transform import WEIGHTS
from problems.pruning.cuts.sublayers.transform import Sublayers


class Half(Sublayers):
    """Drops one kind of sublayer only: its other genes are left out."""

    kind = ""

    @property
    def genes(self):
        return Genes([gene for gene in super().genes if gene.name.startswith(self.kind)])

    @property
    def dense(self):
        return [0.0] * len(self.genes)

    def apply(self, genome):
        chosen = dict(zip(self.genes.names, genome, strict=True))
        super().apply([chosen.get(gene.name, 0.0) for gene in super().genes])

    def prices(self, unit):
        prices, fixed = super().prices(unit)
        named = zip(super().genes, prices, strict=True)
        return [price for gene, price in named if gene.name.startswith(self.kind)], fixed


class Attentions(Half):
    parts = frozenset({"attention"})
    kind = "attention"


class Mlps(Half):
    parts = frozenset({"mlp"})
    kind = "mlp"


@pytest.fixture
def stacked(language_model):
    session = language_model(transforms="sublayers").session
    parts = [kind(session.resident, session.transform.settings, session.texts) for kind in (Attentions, Mlps)]
    return session, Stack(parts)


def test_a_stack_does_what_its_parts_do(stacked):
    session, stack = stacked
    whole = session.transform
    order = [whole.genes.names.index(name) for name in stack.genes.names]
    for genome in ([1, 0, 0, 0, 1, 1], [0, 1, 1, 1, 0, 0], stack.dense):
        alike = [0.0] * len(order)
        for place, value in zip(order, genome, strict=True):
            alike[place] = float(value)
        whole.apply(alike)
        expected = session.fitness.measure.perplexity(session.texts.search.tokens)
        whole.apply(whole.dense)
        stack.apply(genome)
        assert session.fitness.measure.perplexity(session.texts.search.tokens) == expected
        stack.apply(stack.dense)


def test_what_parts_spend_adds_up(stacked):
    session, stack = stacked
    prices, fixed = stack.prices(WEIGHTS)
    whole, total = session.transform.prices(WEIGHTS)
    assert fixed == total
    assert sorted(map(tuple, prices)) == sorted(map(tuple, whole))


def test_two_transforms_of_one_part_are_refused(language_model):
    with pytest.raises(InputError, match="Sublayers and Weights both change the attention and the mlp of a block"):
        language_model(transforms=["sublayers", "weights"])

import math
import random
from itertools import pairwise

import numpy
import pytest

from evoprune import InputError
from evoprune.interfaces.genes import Gene, GeneError, Genes
from evoprune.testing import check_genes

MIXED = Genes([Gene("a", -1.0, 2.0), Gene.of_levels("b", "xyz"), Gene("c", 0.5, 0.5), Gene.of_levels("d", [8])])


CONDITIONAL = Genes(
    [
        Gene.choice("kind", ["tree", "net", "none"]),
        Gene("share", when=("kind", "tree")),
        Gene.integer("layers", 1, 2, when=("kind", "net")),
        Gene.log("width", 1, 100, when=("layers", 2)),
    ]
)


@pytest.mark.parametrize("genes", [MIXED, Genes(CONDITIONAL[:3])])
def test_they_keep_their_own_laws(genes):
    check_genes(genes)


def test_genomes_are_equal_where_their_active_genes_are():
    random.seed(2)
    active = {"tree": ["kind", "share"], "net": ["kind", "layers"], "none": ["kind"], 2: ["kind", "layers", "width"]}
    seen = set()
    for _ in range(60):
        drawn = [gene.random() for gene in CONDITIONAL]
        values = CONDITIONAL.chosen(drawn)
        there = [name for name, value in zip(CONDITIONAL.names, values, strict=True) if value is not None]
        assert there == active[values[2] if values[2] == 2 else values[0]]
        others = [
            value if shown is not None else gene.random()
            for gene, value, shown in zip(CONDITIONAL, drawn, values, strict=True)
        ]
        assert CONDITIONAL.nearest(drawn) == CONDITIONAL.nearest(others)
        assert CONDITIONAL.encoded(values) == pytest.approx(CONDITIONAL.nearest(drawn))
        seen.add(tuple(there))
    assert len(seen) == len(active)
    for wrong in (["tree", None, None, None], [None, 0.5, None, None], ["tree", 2.0, None, None]):
        with pytest.raises(ValueError, match="gene '"):
            CONDITIONAL.encoded(wrong)


@pytest.mark.parametrize("value", [-3.0, -0.0, 0.2, 0.5, 0.51, 1.5, 1.7, 9.0])
def test_the_nearest_level_is_that_of_a_search_through_all(value):
    gene = MIXED[1]
    nearest = gene.nearest(value)
    assert nearest == min(range(3), key=lambda level: abs(level - value))  # of equals the first, which is lower
    assert math.copysign(1.0, nearest) == 1.0


def test_random_genomes_reach_every_level_and_chosen_names_it():
    random.seed(1)
    assert {MIXED.chosen(MIXED.random())[1] for _ in range(60)} == {"x", "y", "z"}
    assert MIXED.free == [0, 1]
    assert MIXED.with_levels == [1, 3]


def test_a_logarithmic_gene_has_its_bounds_and_no_number_outside():
    bounds = sorted([*range(1, 3000), *(10**digits - 1 for digits in range(4, 13)), 1 / 3, 1e-9, 3.7e-5, 0.002])
    for low, up in pairwise(bounds):
        gene = Gene.log("width", low, up)
        assert (gene.chosen(gene.low), gene.chosen(gene.up)) == (low, up)
        assert low <= gene.chosen(math.nextafter(gene.low, gene.up)) <= up
    whole = Gene("width", -400.0, 2.0, exponent=True)
    assert (whole.chosen(-400.0), whole.chosen(2.0)) == (0.0, 100.0)


@pytest.mark.parametrize("genome", [[0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.5], [math.nan, 0.0, 0.5, 0.0], [3.0, 0, 0.5, 0]])
def test_what_is_no_genome_is_not_allowed(genome):
    assert not MIXED.allow(genome)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gene("a", 1.0, 0.0),
        lambda: Gene("a", 0.0, math.inf),
        lambda: Gene.of_levels("a", []),
        lambda: Gene.of_levels("a", [1, 1.0, "sqrt"]),
        lambda: Gene.integer("a", 5, 1),
        lambda: Gene.integer("a", 0.5, 3),
        lambda: Gene.log("a", 10, 1),
        lambda: Gene.log("a", 0, 1),
        lambda: Gene("a", 0.0, 2.0, levels=("x", "y")),
        lambda: Gene.of_levels("a", "xy", level_losses=[0.0]),
        lambda: Gene.of_levels("a", "xy", level_losses=[0.0, -1.0]),
        lambda: Gene.of_levels("a", "xy", level_losses=[0.0, 0.0]),
        lambda: Gene.of_levels("a", "xy", level_losses=[0.0, None]),
        lambda: Genes([]),
        lambda: Genes([Gene("a"), Gene("a")]),
        lambda: Genes([Gene("a", when=("b", 1)), Gene.integer("b", 1, 2)]),
        lambda: Genes([Gene.integer("b", 1, 2), Gene("a", when=("b", 3))]),
    ],
)
def test_genes_that_hold_no_genome_are_refused(make):
    with pytest.raises(InputError, match=r"expected|bounds"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        *(lambda low=low: Gene("x", low, 1) for low in ("a", None, 1j, 10**400, numpy.ones(2))),
        *(lambda name=name: Gene(name) for name in (None, 1)),
        *(lambda scale=scale: Gene("x", scale=scale) for scale in ("a", 0, -1.0, math.nan)),
        *(lambda when=when: Gene("x", when=when) for when in ("a", "ab", ("a",), (1, 2))),
        *(lambda levels=levels: Gene.choice("x", levels) for levels in (None, 1, [[1], [2]], [numpy.ones(2)] * 2)),
        *(
            lambda level_losses=level_losses: Gene.of_levels("x", "ab", level_losses)
            for level_losses in (1, "ab", [1j, 1])
        ),
        *(lambda up=up: Gene.integer("x", 0, up) for up in ("a", 1.5, -1, 10**18, 10**5000)),
        *(lambda up=up: Gene.log("x", 1, up) for up in ("a", None, 1j, 10**400, math.nan)),
        *(lambda genes=genes: Genes(genes) for genes in (None, "ab", [1], {"x": 1})),
        lambda: Genes([Gene.choice("x", "ab"), Gene("y", when=("x", numpy.ones(2)))]),
        lambda: MIXED.encoded(None),
        lambda: MIXED[0].encoded(10**5000),
    ],
)
def test_impossible_genes_are_refused_in_one_line(make):
    with pytest.raises(InputError) as refused:
        make()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_whole_numbers_are_as_fast_as_they_are_many():
    gene = Gene.integer("x", -(10**15), 10**15)
    for level in (-(10**15), 0.0, numpy.int64(7), 10**15):
        assert gene.chosen(gene.encoded(level)) == level
    for wrong in (0.5, "a", math.nan, None, 10**16):
        with pytest.raises(GeneError):
            gene.encoded(wrong)
    few = Genes([gene, Gene("y", when=("x", 3)), Gene.choice("z", "abc", when=("x", 4))])
    assert (few.size, Genes([gene, *few[2:]]).size) == (math.inf, 2 * 10**15 + 3)

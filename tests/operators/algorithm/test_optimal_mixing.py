"""Optimal mixing: what it joins, and what it finds by that."""

import itertools
import math
import random
from collections import Counter

import numpy
import pytest

from evoprune import Gene, minimize
from evoprune.operators.algorithm.optimal_mixing import linkage_tree

BLOCK = 5


def slow_tree(members):
    """By counts of pairs, and the mean distance of the genes of two clusters, computed anew for each."""

    def entropy(*places):
        counts = Counter(tuple(member[place] for place in places) for member in members)
        return -sum(count / len(members) * math.log(count / len(members)) for count in counts.values())

    def far(one, other):
        joint = entropy(one, other)
        return 1 - (entropy(one) + entropy(other) - joint) / joint if joint else 0.0

    def between(pair):
        return sum(far(one, other) for one, other in itertools.product(*pair)) / (len(pair[0]) * len(pair[1]))

    clusters = [(place,) for place in range(len(members[0]))]
    subsets = set(clusters)
    while len(clusters) > 1:
        first, second = min(itertools.combinations(clusters, 2), key=between)
        if between((first, second)) < 1e-9:
            subsets -= {first, second}
        clusters = [*(each for each in clusters if each not in (first, second)), first + second]
        subsets.add(first + second)
    return {frozenset(subset) for subset in subsets if 1 < len(subset) < len(members[0])}


@pytest.mark.parametrize("seed", range(5))
def test_the_tree_is_that_of_a_slow_clustering(seed):
    draws = random.Random(seed)
    members = [[draws.randrange(3) for _ in range(6)] for _ in range(40)]
    for member in members:
        member[4], member[5] = member[0], 1  # one gene has the information of another, and one has none
    found = linkage_tree(numpy.array(members))
    assert {frozenset(subset) for subset in found} == slow_tree(members)


def trapped(bits):
    """Deceptive blocks, each of genes far from each other: less than 5 ones lead away from 5."""
    blocks = len(bits) // BLOCK
    ones = [sum(bits[block::blocks]) for block in range(blocks)]
    return sum(0 if one == BLOCK else 1 + one for one in ones)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_that_deceive_are_found_where_they_are_scattered(seed):
    genes = [Gene.integer(f"b{place}", 0, 1) for place in range(6 * BLOCK)]
    found = minimize(trapped, genes, evaluations=8000, target=0, seed=seed, algorithm="optimal_mixing")
    assert found.values == (0.0,)


def test_options_are_kept_whole_and_inactive_genes_have_no_value():
    genes = [
        Gene.choice("kind", ["a", "b", "c"]), Gene.choice("fixed", ["only"]),
        *(Gene.choice(f"of b {place}", "xyz", when=("kind", "b")) for place in range(4)),
    ]  # fmt: skip

    def cost(kind, only, *of_b):
        assert (only, kind in "abc") == ("only", True)
        assert [value is None for value in of_b] == [kind != "b"] * 4
        return 4 - of_b.count("z") if kind == "b" else 4.5

    found = minimize(lambda values: cost(*values), genes, evaluations=200, algorithm="optimal_mixing")
    assert found.genome == ["b", "only", *"zzzz"]


def test_a_known_genome_is_scored_first():
    genes = [Gene.integer(f"n{place}", 0, 9) for place in range(6)]
    start = [3, 1, 4, 1, 5, 9]
    found = minimize(sum, genes, evaluations=50, initial=[start], algorithm="optimal_mixing")
    assert next(iter(found.history))[0] == start

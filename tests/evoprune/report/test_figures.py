"""The drawn family tree: who is in it, who descends from whom, and what is left out."""

import pytest
from matplotlib.collections import LineCollection, PathCollection

from evoprune.report import figures


def line(number, parents, fitness, generation):
    return {"candidate": number, "parents": parents, "fitness": [fitness], "generation": generation}


def chain(length):
    """Candidates that each have the one before as only parent."""
    return {n: line(n, [n - 1] if n else [], 1000.0 - n, n) for n in range(length)}


def drawn(candidates, best, weight=-1.0):
    """The links, the points, and the line of the better parents, in a figure of the ancestors of ``best``."""
    (axes,) = figures.draw_family(figures.ancestors(best, candidates), best, "fitness", weight).axes
    links = [c.get_segments() for c in axes.collections if isinstance(c, LineCollection)]
    points = [tuple(p) for c in axes.collections if isinstance(c, PathCollection) for p in c.get_offsets().tolist()]
    better = [list(zip(*one.get_data(), strict=True)) for one in axes.lines]
    return [tuple(map(tuple, link.tolist())) for link in links[0]], points, better[0] if better else []


def test_each_ancestor_is_a_point_and_each_parent_a_line(run, sphere):
    answer = run(sphere)
    candidates = {line["candidate"]: line for line in answer.candidates}
    best = answer.json("result.json")["best"]["candidate"]
    place = {n: (line["generation"], line["fitness"][0]) for n, line in candidates.items()}
    found = {line["candidate"] for line in figures.ancestors(best, candidates)}
    links, points, better = drawn(candidates, best)
    assert sorted(points) == sorted(place[n] for n in found)
    assert sorted(links) == sorted((place[p], place[n]) for n in found for p in candidates[n]["parents"])
    assert better[0] == place[best]
    assert better[-1][0] == 0
    assert set(zip(better[1:], better[:-1], strict=True)) <= set(links)


@pytest.mark.parametrize(("weight", "better"), [(-1.0, 1.0), (1.0, 2.0)])
def test_the_better_parent_is_the_one_that_the_objective_prefers(weight, better):
    candidates = {0: line(0, [], 1.0, 0), 1: line(1, [], 2.0, 0), 2: line(2, [0, 1], 3.0, 1)}
    assert drawn(candidates, 2, weight)[2] == [(1, 3.0), (0, better)]


@pytest.mark.parametrize("length", [figures.MOST_ANCESTORS, 2 * figures.MOST_ANCESTORS])
def test_a_long_line_is_cut(length):
    _, points, better = drawn(chain(length), length - 1)
    assert len(points) == len(better) == min(length, figures.MOST_ANCESTORS)
    words = figures.describe_family(figures.ancestors(length - 1, chain(length)), length - 1)
    assert ("older ones are left out" in words) == (length > figures.MOST_ANCESTORS)

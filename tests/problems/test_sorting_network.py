"""Sorting networks: known ones sort, scores agree with sorting each input, and the figure's columns."""

import json
import random
from itertools import product

import pytest

from evoprune.cli import main
from evoprune.plugins import HOME
from evoprune.problems.sorting_network import SortingNetwork, _columns
from evoprune.testing import check_problem

BATCHER = [  # the odd-even merge sort of 8 inputs
    *[(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6)],
    *[(0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)],
]


def problem(**settings):
    return SortingNetwork(SortingNetwork.Settings(**settings))


def run_through(network, values):
    values = list(values)
    for upper, lower in network:
        values[upper], values[lower] = sorted((values[upper], values[lower]))
    return values


def test_the_known_network_of_19_comparators_sorts_8_inputs_and_needs_each_of_them():
    tried = problem()
    assert tried.unsorted(BATCHER) == 0
    assert tried.evaluate(tried.space.encoded(BATCHER)).values == (19.0,)
    assert all(tried.unsorted(BATCHER[:place] + BATCHER[place + 1 :]) > 0 for place in range(19))


@pytest.mark.parametrize("inputs", [3, 4, 6])
def test_the_score_counts_the_inputs_that_are_not_sorted_one_by_one(inputs):
    random.seed(inputs)
    tried = problem(inputs=inputs, longest=12, cost=0.25)
    for _ in range(30):
        genome = tried.space.random()
        network = tried.space.chosen(genome)
        faulty = sum(run_through(network, bits) != sorted(bits) for bits in product((0, 1), repeat=inputs))
        evaluation = tried.evaluate(genome)
        assert evaluation.values == (faulty + 0.25 * len(network),)
        assert evaluation.measures == {"unsorted": faulty}


def test_it_keeps_the_laws_of_problems():
    check_problem(problem())
    check_problem(problem(inputs=16, longest=3))


def test_comparators_of_a_column_share_no_wire_and_keep_their_order():
    random.seed(0)
    for network in [BATCHER, *(problem().space.chosen(problem().space.random()) for _ in range(20))]:
        columns, steps = _columns(network)
        drawn = list(zip(columns, network, strict=True))
        for place, (column, (upper, lower)) in enumerate(drawn):
            for other, (first, last) in drawn[:place]:
                assert other != column or last < upper or lower < first
                assert other < column or {first, last}.isdisjoint({upper, lower})
        assert steps <= len(network)
    assert _columns(BATCHER)[1] == 6


@pytest.mark.parametrize("setting", ["inputs=2", "inputs=17", "longest=0", "cost=0", "cost=true"])
def test_unusable_settings_are_refused_in_a_line(capsys, setting):
    assert main(["validate", str(HOME / "problems" / "sorting_network.yaml"), "--set", f"problem.{setting}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"problem.{setting.partition('=')[0]}" in message


def test_a_run_reports_its_network(tmp_path):
    small = ["budget=3000", "problem.inputs=4", "problem.longest=10"]
    command = ["run", str(HOME / "problems" / "sorting_network.yaml"), "--runs-dir", str(tmp_path), "--name", "a"]
    assert main([*command, *(word for setting in small for word in ("--set", setting))]) == 0
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert (result["comparators"], result["unsorted"], len(result["network"])) == (5, 0, 5)
    assert all(run_through(result["network"], bits) == sorted(bits) for bits in product((0, 1), repeat=4))
    assert (tmp_path / "a" / "network.png").exists()

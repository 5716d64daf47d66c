import random
from collections import defaultdict
from itertools import product

import torch

from evoprune import Individual
from operators.algorithm.random_search import random_search
from problems.transforms.metric import PARTS, Metric
from problems.transforms.weights.ranks import ranks_in_rows
from tests.benchmarks.metrics import compare
from tests.benchmarks.metrics.enumerate import representative

EVERY = [Metric(*parts) for parts in product(*PARTS.values())]


def test_metrics_that_are_scored_once_order_each_row_the_same():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    norms = torch.rand(7, generator=generator, dtype=torch.float64) + 0.1
    orders = defaultdict(set)
    for metric in EVERY:
        orders[representative(metric)].add(tuple(ranks_in_rows(metric.score(weight, norms)).flatten().tolist()))
    assert len(orders) == 1135
    assert all(representative(metric) == metric for metric in orders)
    assert {len(found) for found in orders.values()} == {1}


def test_metrics_are_counted_once_until_each_goal():
    table = {metric: float(number + 1) for number, metric in enumerate(EVERY)}
    random.seed(0)
    search = random_search(compare.toolbox(), population=8, initial_genomes=[Metric().genome])
    at_once, never = compare.found(search, table, [2401.0, 0.0])
    assert (at_once, never) == (1, None)


def test_searches_change_metrics_and_repairs_leave_them():
    random.seed(0)
    tools = compare.toolbox()
    (mutant,) = tools.mutate(Individual(Metric().genome))
    assert mutant != Metric().genome
    assert tools.repair(mutant)[0] == mutant
    (repaired,) = tools.repair(Individual([0.4, 2.6, 5.0, 6.0]))
    assert repaired == [0.0, 3.0, 5.0, 6.0]

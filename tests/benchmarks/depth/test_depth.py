import random
from math import comb

from tests.benchmarks.depth.compare import found
from tests.benchmarks.depth.enumerate import Table, depth_first, genome, pairs, whole_blocks
from tests.benchmarks.depth.evopress import swapped
from tests.benchmarks.depth.spaces import Space


def test_all_removals_are_there_once_and_neighbours_share_their_beginning():
    ordered = depth_first(pairs())
    assert len(ordered) == len({*ordered}) == comb(12, 3) ** 2
    assert len({*whole_blocks()}) == 4096
    assert [genome(pair) for pair in ordered] == sorted(genome(pair) for pair in ordered)


def test_a_swap_keeps_the_numbers_of_each_kind():
    random.seed(0)
    space = Space(2)
    for _ in range(50):
        pair = space.pair(swapped(space.toolbox().individual(), space.kinds))
        assert [mask.bit_count() for mask in pair] == [3, 3]


def test_evaluations_are_counted_once_until_the_goal(tmp_path):
    space, table = Space(1), Table(tmp_path / "none.jsonl")
    table.known = {pair: float(pair[0]) for pair in whole_blocks()}
    from operators.algorithm.random_search import random_search

    random.seed(0)
    search = random_search(space.toolbox(), population=16, initial_genomes=[])
    at_once, never = found(search, space, table, [4096.0, -1.0], 100)
    assert (at_once, never) == (1, None)

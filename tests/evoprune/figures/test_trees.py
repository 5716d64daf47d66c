"""Trees as figures."""

from evoprune.figures.trees import layout


def test_leaves_stand_side_by_side_and_nodes_above_the_middle_of_their_children():
    places, edges = layout([2, 1, 0, 3, 0, 0, 0])  # (f (g a) (h b c d))
    assert places == [(1.0, 0), (0.0, 1), (0.0, 2), (2.0, 1), (1.0, 2), (2.0, 2), (3.0, 2)]
    assert sorted(edges) == [(0, 1), (0, 3), (1, 2), (3, 4), (3, 5), (3, 6)]
    assert layout([0]) == ([(0.0, 0)], [])

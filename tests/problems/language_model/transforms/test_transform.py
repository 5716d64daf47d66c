"""The uniform genome, which transforms share."""

from itertools import pairwise

import pytest

from evoprune import Gene
from evoprune.problems.language_model.transforms.transform import at_share


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.33, 0.5, 0.9, 1.0])
def test_levels_add_up_to_the_share_and_lie_at_even_distances(share):
    genes = [Gene.of_levels(str(place), ["keep", "drop"]) for place in range(30)]
    genome = at_share(genes, share)
    assert set(genome) <= {0.0, 1.0}
    assert sum(genome) == int(share * 30 + 0.5)
    places = [place for place, value in enumerate(genome) if value]
    gaps = [after - before for before, after in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_genes_of_any_range_take_the_share_of_it():
    genes = [Gene("real", 0.0, 2.0), Gene.of_levels("many", range(9)), Gene.of_levels("fixed", "x")]
    assert at_share(genes, 0.5) == [1.0, 4.0, 0.0]

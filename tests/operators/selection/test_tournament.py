import random
from collections import Counter

import pytest

from operators.selection.tournament import tournament


@pytest.mark.parametrize("tournsize", [1, 2, 5])
@pytest.mark.parametrize("weight", [-1.0, 1.0])
def test_the_best_wins_as_often_as_it_enters(scored, weight, tournsize):
    random.seed(1)
    individuals = scored([-weight * value for value in (1.0, 2.0, 3.0, 4.0)], weight)
    drawn = Counter(int(i[0]) for i in tournament(individuals, 8000, tournsize=tournsize))
    assert drawn[3] / 8000 == pytest.approx((1 / 4) ** tournsize, abs=0.02)
    assert drawn[0] / 8000 == pytest.approx(1 - (3 / 4) ** tournsize, abs=0.02)

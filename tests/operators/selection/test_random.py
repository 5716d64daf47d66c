import random as rng
from collections import Counter

import pytest

from operators.selection.random import random


def test_everyone_breeds_alike_and_no_one_with_themselves(scored):
    rng.seed(1)
    individuals = scored([1.0, 2.0, 1e9, float("inf")])
    drawn = Counter()
    for _ in range(2000):
        pair = random(individuals, 2)
        assert pair[0] is not pair[1]
        drawn.update(int(i[0]) for i in pair)
    assert [drawn[i] / 4000 for i in range(4)] == pytest.approx([0.25] * 4, abs=0.03)

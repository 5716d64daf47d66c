"""Numbers as text."""

import math

import pytest

from evoprune.console.formatting import digits


@pytest.mark.parametrize(
    ("value", "count", "written"),
    [
        (20.7163, 4, "20.72"),
        (-0.012345, 3, "-0.0123"),
        (999.96, 4, "1,000"),
        (13024.6, 4, "13,025"),
        (13024.6, 6, "13,024.6"),
        (4000, 6, "4,000"),
        (7e9, 6, "7,000,000,000"),
        (1.23456e15, 4, "1.235e+15"),
        (None, 4, "infinite"),
        (math.inf, 4, "infinite"),
    ],
)
def test_a_number_has_some_digits_and_commas(value, count, written):
    assert digits(value, count) == written

import pytest

from evoprune import solve


def test_solve_finds_the_root_to_the_last_bit():
    assert solve(lambda x: x * x * x, 8.0, 0.0, 1e6) == pytest.approx(2.0, abs=1e-15)


def test_solve_ends_where_the_function_is_flat():
    assert solve(lambda x: min(x, 1.0), 1.0, -5.0, 5.0) == 1.0

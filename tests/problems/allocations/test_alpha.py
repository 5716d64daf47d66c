import pytest
import torch

from problems.allocations.builtin import tail_exponent


@pytest.mark.parametrize("exponent", [2.0, 3.5])
def test_hills_estimate_finds_the_exponent_of_a_power_law(exponent):
    """Eigenvalues at the quantiles of a Pareto law with density x^-exponent."""
    places = torch.arange(1, 1001, dtype=torch.float64) / 1001
    values = (1 - places) ** (-1 / (exponent - 1))
    assert tail_exponent(torch.diag(values.sqrt())) == pytest.approx(exponent, rel=0.03)


def test_an_exponent_is_the_same_on_any_number_of_threads():
    weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(tail_exponent(weight))
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_groups_with_heavier_tails_lose_less(loose, find):
    problem = loose()
    genome = find("alpha", problem)
    exponents = [
        sum(tail_exponent(m.weight) for m in group.matrices) / len(group.matrices)
        for group in problem.session.transform.groups
    ]
    by_exponent = sorted(range(len(genome)), key=lambda place: exponents[place])
    assert by_exponent == sorted(range(len(genome)), key=lambda place: genome[place])

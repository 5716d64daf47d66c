"""Goals choose between cuts and zeros, and make their experiments."""

from dataclasses import replace

import pytest

from evoprune import InputError
from evoprune.problems.language_model.prune.experiments import channel_step
from evoprune.problems.language_model.prune.goals import Remove, Size, Sparsity, Speedup
from evoprune.problems.language_model.prune.interfaces import ModelFacts, Output, Setup

FACTS = ModelFacts(width=1536, heads=True, parameters=15 * 10**7, block_parameters=10**8, weight_size=0.1)
FOLDER = Output("folder", None)


def made(goal, facts=FACTS, output=FOLDER, **others):
    return goal.experiment(Setup(facts, output, **others))["problem"]


def uses(goal, facts=FACTS, output=FOLDER):
    return [each["use"] for each in made(goal, facts, output)["transforms"]]


def test_the_rate_of_all_weights_is_a_share_of_their_size():
    """Else a rate that helps one model ruins another, whose weights are a twelfth."""
    rates = [
        made(Remove(0.15), replace(FACTS, roomy=True, weight_size=size))["recover"]["rate"] for size in (0.2, 0.02)
    ]
    assert rates[0] == pytest.approx(10 * rates[1])


def test_a_folder_of_a_size_is_trained_as_one_that_lost_as_many_parameters():
    facts = replace(FACTS, roomy=True)
    by_size, by_share = (made(goal, facts)["recover"]["rate"] for goal in (Size(2e8), Remove(0.5)))
    assert by_size == by_share


def test_a_model_that_cannot_be_taken_apart_has_zeros_alone():
    unknown = replace(FACTS, width=None)
    assert made(Sparsity(0.5), unknown)["sparsity"] == 0.5
    with pytest.raises(InputError, match="--size with --out"):
        Remove(0.5).check(unknown, FOLDER)


def test_where_heads_cannot_go_channels_alone_do():
    assert uses(Remove(0.5)) == ["heads", "channels"]
    assert uses(Remove(0.5), replace(FACTS, heads=False)) == ["channels"]


def test_a_mixture_loses_experts():
    facts = replace(FACTS, width=None, experts=True)
    assert made(Remove(0.25), facts)["transforms"] == [{"use": "experts", "genes": "block"}]
    for goal in (Speedup(1.5), Sparsity(0.5)):
        with pytest.raises(InputError, match=f"{goal.option}: .*--size"):
            goal.check(facts, FOLDER)


def test_a_short_time_has_a_cheaper_way():
    found = [made(Sparsity(0.5), short=short)["reconstruct"] for short in (False, True)]
    assert found == ["least_squares", "none"]
    found = [made(Speedup(1.5), short=short)["budget"]["seconds"] for short in (False, True)]
    assert found[0] > found[1]


@pytest.mark.parametrize("width", [1536, 640, 256, 11008, 4864])
def test_a_step_of_channels_divides_the_width_into_about_twelve(width):
    assert channel_step(width, 256) % (256 if width % 256 == 0 else 32) == 0
    found = channel_step(width)
    assert width % found == 0
    assert found >= 32
    possible = [size for size in range(32, width + 1, 32) if width % size == 0]
    assert abs(found - width / 12) == min(abs(size - width / 12) for size in possible)

"""Goals choose a template by the size that is wanted and the least that types reach, and fill its slots."""

from dataclasses import replace

import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH, ONE_WIDTH_IN_ALL
from evoprune.problems.language_model.prune.goals import FAST, Goal, channel_step
from evoprune.problems.language_model.prune.subject import Subject

SUBJECT = Subject(widths={576: 10**8, 1536: 3 * 10**7}, width=1536, heads=True, parameters=15 * 10**7,
                  block_parameters=10**8, weight_size=0.1)  # fmt: skip


def made(goal, subject=SUBJECT, types=(), short=False):
    return goal.experiment(subject, types, {"short": short})["problem"]


def uses(goal, subject=SUBJECT, types=()):
    return [each["use"] for each in made(goal, subject, types)["transforms"]]


def test_the_rate_of_all_weights_is_a_share_of_their_size():
    """Else a rate that helps one model ruins another, whose weights are a twelfth."""
    rates = [
        made(Goal("remove", 0.15), replace(SUBJECT, roomy=True, weight_size=size))["recover"]["rate"]
        for size in (0.2, 0.02)
    ]
    assert rates[0] == pytest.approx(10 * rates[1])


def test_a_folder_of_a_size_is_trained_as_one_that_lost_as_many_parameters():
    subject = replace(SUBJECT, roomy=True)
    by_size, by_share = (made(goal, subject)["recover"]["rate"] for goal in (Goal("size", 2e8), Goal("remove", 0.5)))
    assert by_size == by_share


def test_a_model_that_cannot_be_taken_apart_has_goals_without_widths():
    unknown = replace(SUBJECT, width=None)
    assert made(Goal("sparsity", 0.5), unknown)["sparsity"] == 0.5
    assert uses(Goal("size", 5e7), replace(unknown, one_file=True), ["Q4_0"]) == ["types"]
    with pytest.raises(InputError, match="--size with --out"):
        Goal("remove", 0.5).template(unknown)


def test_where_heads_cannot_go_channels_alone_do():
    assert uses(Goal("remove", 0.5)) == ["heads", "channels"]
    assert uses(Goal("remove", 0.5), replace(SUBJECT, heads=False)) == ["channels"]


@pytest.mark.parametrize(
    ("own", "step"), [(["F32", "Q4_1", "Q8_0"], 128), (["F32", "Q6_K"], 256), (["F16"], 128)], ids=["32", "256", "none"]
)
def test_a_file_of_a_narrower_model_has_the_types_of_its_source(own, step):
    subject = replace(SUBJECT, one_file=True, kinds=frozenset(own))
    *_, channels, last = made(Goal("remove", 0.15), subject)["transforms"]
    if own == ["F16"]:
        channels = last
    else:
        assert last == {"use": "types", "types": [], "from_source": True}
    assert (channels["use"], channels["step"]) == ("channels", step)
    assert bool(Goal("speedup", 1.3).types(subject, {})) == (own != ["F16"])


@pytest.mark.parametrize(("form", "cuts"), [(ONE_WIDTH, ["sublayers", "channels"]), (ONE_WIDTH_IN_ALL, ["channels"])])
def test_where_all_blocks_of_a_file_are_alike_whole_ones_go_and_channels_of_all(form, cuts):
    subject = replace(SUBJECT, one_file=True, kinds=frozenset(["Q8_0"]), form=form)
    *found, types = made(Goal("remove", 0.5), subject)["transforms"]
    assert [cut["use"] for cut in found] == cuts
    assert types["from_source"]
    assert found[-1].items() >= {"genes": "model", "drop": False}.items()


def test_where_all_blocks_of_a_file_are_alike_types_alone_make_it_faster_as_far_as_they_can():
    subject = replace(SUBJECT, one_file=True, kinds=frozenset(["Q8_0", "Q5_0"]), shrinking=6.5 / 4.5, form=ONE_WIDTH)
    faster = made(Goal("speedup", 1.3), subject, FAST)
    assert [each["use"] for each in faster["transforms"]] == ["types"]
    assert (faster["budget"]["speedup"], faster["recover"]["train"]) == (1.3, "scales")
    for goal, of in [(Goal("speedup", 1.5), subject), (Goal("speedup", 1.3), replace(subject, form=BLOCKS))]:
        assert "channels" in uses(goal, of)


def test_a_mixture_loses_experts_and_has_types():
    subject = replace(SUBJECT, width=None, experts=True)
    assert made(Goal("remove", 0.25), subject)["transforms"] == [{"use": "experts", "genes": "block"}]
    subject = replace(subject, one_file=True, least=7e7)
    experts, types = made(Goal("size", 6e7), subject, ["Q4_0"])["transforms"]
    assert experts == {"use": "experts", "genes": "model"}
    assert types["use"] == "types"
    with_matrix = Goal("size", 6e7).experiment(subject, ["Q4_0"], {"imatrix": "known.gguf"})
    assert with_matrix["problem"]["transforms"][-1]["imatrix"] == "known.gguf"
    assert uses(Goal("size", 8e7), subject, ["Q4_0"]) == ["types"]
    for goal in (Goal("speedup", 1.5), Goal("sparsity", 0.5)):
        with pytest.raises(InputError, match=f"{goal.option}: .*--size"):
            goal.template(subject)


def test_near_the_smallest_file_of_types_heads_and_channels_go_too():
    subject = replace(SUBJECT, one_file=True, kinds=frozenset(["Q4_1"]), least=7e7, roomy=True)
    bits = Goal("bits", 8 * 6e7 / SUBJECT.weights)
    for goal, cuts in [
        (Goal("size", 6e7), True),
        (Goal("size", 7.5e7), True),
        (Goal("size", 8e7), False),
        (bits, True),
    ]:
        assert bool(goal.removed(subject)) == cuts
        assert ("channels" in uses(goal, subject, ["Q4_0"])) == cuts
        assert not goal.removed(replace(subject, width=None))
        assert made(goal, subject, ["Q4_0"])["recover"]["train"] == ("all" if cuts else "scales")


def test_a_short_time_has_a_cheaper_way():
    found = [made(Goal("sparsity", 0.5), short=short)["reconstruct"] for short in (False, True)]
    assert found == ["least_squares", "none"]
    found = [made(Goal("speedup", 1.5), short=short)["budget"]["seconds"] for short in (False, True)]
    assert found[0] > found[1]


@pytest.mark.parametrize("bits", [2.0, 3.5, 4.5, 5.5, 6.5, 8.0])
@pytest.mark.parametrize("widths", [(576, 1536), (896, 4864), (2048, 8192)])
def test_types_that_are_quick_to_make_take_part_and_one_that_reaches_the_wanted_bits(bits, widths):
    subject = replace(SUBJECT, widths=dict.fromkeys(widths, 1))
    everything = {kind for kind in ggml.COMMON if any(ggml.fits(kind, width) for width in widths)}
    found = subject.types_within(bits)
    assert {*found} == everything
    assert replace(subject, kinds=frozenset(["Q5_1", "F16", "F32"])).types_within(bits) == found
    assert "Q8_0" not in replace(subject, kinds=frozenset(["Q8_0", "Q4_0", "F32"])).types_within(bits)
    sizes = [ggml.bits(kind) for kind in found]
    assert sizes == sorted(sizes, reverse=True)
    slow = dict.fromkeys(everything, 2.0) | {"Q8_0": 1.0}
    few = subject.types_within(bits, slow)
    assert {"Q8_0"} <= {*few} < everything
    for width in widths:
        own = [ggml.bits(kind) for kind in few if ggml.fits(kind, width)]
        assert min(own) <= max(bits, min(ggml.bits(kind) for kind in everything if ggml.fits(kind, width)))


@pytest.mark.parametrize("width", [1536, 640, 256, 11008, 4864])
def test_a_step_of_channels_divides_the_width_into_about_twelve(width):
    assert channel_step(width, 256) % (256 if width % 256 == 0 else 32) == 0
    found = channel_step(width)
    assert width % found == 0
    assert found >= 32
    possible = [size for size in range(32, width + 1, 32) if width % size == 0]
    assert abs(found - width / 12) == min(abs(size - width / 12) for size in possible)

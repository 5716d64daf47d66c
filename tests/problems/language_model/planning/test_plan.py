"""A text and a time are divided."""

from dataclasses import replace
from itertools import pairwise

import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH, ONE_WIDTH_IN_ALL
from evoprune.problems.language_model.planning.division import Division, parts_of
from evoprune.problems.language_model.planning.division import divide as divide_parts
from evoprune.problems.language_model.planning.plan import share_out
from evoprune.problems.language_model.planning.recipe import Subject, channel_step
from evoprune.problems.language_model.planning.recipes import Remove, Sparsity, Speedup
from evoprune.problems.language_model.planning.sizes import Bits, Size, quantised_bytes, quantising_seconds, types_near
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text

SUBJECT = Subject(
    blocks=30, kinds=7, widths={576: 10**8, 1536: 3 * 10**7}, width=1536, heads=True, inputs=800.0, weight_size=0.1,
    prunable=10**8, positions=2048, scored=1e-3, gradients=4e-3, loading=10.0,
)  # fmt: skip
PARTS = {"search": 80_000, "calibration": 120_000, "report": 60_000}
TEXT = Division({name: {"source": "all.txt"} for name in PARTS}, PARTS, 512, "")


def tokenizer(text, **_):
    return {"input_ids": list(range(len(text.split())))}


def divide(text, longest):
    return divide_parts(text, parts_of(text), tokenizer, longest)


def shares(seconds, subject=SUBJECT):
    return share_out(Sparsity(0.5), subject, TEXT, seconds)[2]


def test_the_rate_of_all_weights_is_a_share_of_their_size():
    """Else a rate that helps one model ruins another, whose weights are a twelfth."""
    rates = [
        Remove(0.15).recovery(replace(SUBJECT, roomy=True, weight_size=size), False)["rate"] for size in (0.2, 0.02)
    ]
    assert rates[0] == pytest.approx(10 * rates[1])


def test_a_model_that_cannot_be_taken_apart_has_goals_without_widths():
    unknown = replace(SUBJECT, width=None)
    assert Sparsity(0.5).experiment(unknown, 50)
    assert Size(5e7).experiment(replace(unknown, one_file=True), 50)
    with pytest.raises(InputError, match=r"give --sparsity, or --size with --out FILE\.gguf"):
        Remove(0.5).experiment(unknown, 50)


def test_a_joint_file_is_trained_before_it_is_compared():
    subject = replace(SUBJECT, one_file=True, trainable=True, least=7e7, scored=1 / 180, gradients=None)
    found = [share_out(Size(6e7), subject, TEXT, 60 * minutes)[2] for minutes in (6, 20, 60)]
    assert [one.compared for one in found] == [False, True, True]
    for one in found:
        assert one.training > one.seconds / 4


def test_where_heads_cannot_go_channels_alone_do():
    made = [Remove(0.5).experiment(replace(SUBJECT, heads=heads), 50) for heads in (True, False)]
    assert [[each["use"] for each in one["problem"]["transforms"]] for one in made] == [
        ["heads", "channels"],
        ["channels"],
    ]


@pytest.mark.parametrize(
    ("own", "step"), [(["F32", "Q4_1", "Q8_0"], 128), (["F32", "Q6_K"], 256), (["F16"], 128)], ids=["32", "256", "none"]
)
def test_a_file_of_a_narrower_model_has_the_types_of_its_source(own, step):
    subject = replace(SUBJECT, one_file=True, kinds_of_source=own)
    *_, channels, last = Remove(0.15).experiment(subject, 50)["problem"]["transforms"]
    if own == ["F16"]:
        assert last["use"] == "channels"
        channels = last
    else:
        assert last == {"use": "types", "types": [], "from_source": True}
    assert (channels["use"], channels["step"]) == ("channels", step)
    (types,) = (each for each in Speedup(1.3).experiment(subject, 50)["problem"]["transforms"][2:] or [{"types": []}])
    assert bool(types["types"]) == (own != ["F16"])


@pytest.mark.parametrize(("form", "uses"), [(ONE_WIDTH, ["sublayers", "channels"]), (ONE_WIDTH_IN_ALL, ["channels"])])
def test_where_all_blocks_of_a_file_are_alike_whole_ones_go_and_channels_of_all(form, uses):
    subject = replace(SUBJECT, one_file=True, kinds_of_source=["Q8_0"], form=form)
    *cuts, types = Remove(0.5).experiment(subject, 50)["problem"]["transforms"]
    assert [cut["use"] for cut in cuts] == uses
    assert types["from_source"]
    assert cuts[-1].items() >= {"genes": "model", "drop": False}.items()


def test_where_all_blocks_of_a_file_are_alike_types_alone_make_it_faster_as_far_as_they_can():
    own = {"Q8_0": {896: 10**7}, "Q5_0": {896: 10**7, 4864: 10**7}}  # 6.5 bits, and 4.5 with Q4_0
    subject = replace(SUBJECT, one_file=True, kinds_of_source=[*own], by_kind=own, form=ONE_WIDTH)
    made = Speedup(1.3).experiment(subject, 50)["problem"]
    assert made["transforms"]["use"] == "types"
    assert made["budget"]["speedup"] == 1.3
    assert Speedup(1.3).recovery(subject, compensated=True)["train"] == "scales"
    for goal, of in [(Speedup(1.5), subject), (Speedup(1.3), replace(subject, form=BLOCKS))]:
        assert "channels" in repr(goal.experiment(of, 50))


def test_a_mixture_loses_experts_and_has_types():
    subject = replace(SUBJECT, width=None, experts=6)
    (experts,) = Remove(0.25).experiment(subject, 50)["problem"]["transforms"]
    assert experts == {"use": "experts", "genes": "block"}
    subject = replace(subject, one_file=True, least=7e7)
    experts, types = Size(6e7).experiment(subject, 50)["problem"]["transforms"]
    assert experts == {"use": "experts", "genes": "model"}
    assert types["use"] == "types"
    assert Size(8e7).experiment(subject, 50)["problem"]["transforms"]["use"] == "types"
    for goal in (Speedup(1.5), Sparsity(0.5)):
        with pytest.raises(InputError, match=f"{goal.option}: .*--size"):
            goal.experiment(subject, 50)


def test_near_the_smallest_file_of_types_heads_and_channels_go_too():
    subject = replace(SUBJECT, one_file=True, kinds_of_source=["Q4_1"], least=7e7)
    weights = sum(SUBJECT.widths.values())
    for goal, cuts in [(Size(6e7), True), (Size(7.5e7), True), (Size(8e7), False), (Bits(8 * 6e7 / weights), True)]:
        assert goal.cuts(subject) == cuts
        assert ("channels" in repr(goal.experiment(subject, 50))) == cuts
        assert not goal.cuts(replace(subject, width=None))
        assert goal.recovery(replace(subject, roomy=True), compensated=True)["train"] == ("all" if cuts else "scales")


def test_what_is_planned_fits_into_the_time_and_more_time_is_used():
    for minutes in (4, 8, 15, 30, 60, 120, 600):
        found = shares(60 * minutes)
        assert found.seconds <= 60 * minutes
        assert 12 <= found.evaluations <= 220
    assert (found.calibration, found.report, found.evaluations, found.training) == (128, 48, 220, 0)


@pytest.mark.parametrize(
    "goal",
    [Sparsity(0.5), Speedup(1.5), Remove(0.25)],
    ids=["sparsity", "speedup", "remove"],
)
@pytest.mark.parametrize("speed", [200, 5000])
def test_the_time_that_is_said_to_be_enough_is_enough_and_the_least(goal, speed):
    subject = replace(SUBJECT, scored=1 / speed, gradients=4 / speed)
    with pytest.raises(InputError, match=r"--time: is too short .* at least \d+m") as found:
        share_out(goal, subject, TEXT, 20)
    needed = int(str(found.value).split()[-1].removesuffix("m"))
    extended = share_out(goal, subject, TEXT, 20, extended=True)
    assert extended[1:] == share_out(goal, subject, TEXT, 60 * needed)[1:]
    if needed > 1:
        with pytest.raises(InputError, match="too short"):
            share_out(goal, subject, TEXT, 60 * (needed - 1))


@pytest.mark.parametrize(
    ("goal", "key", "by_minutes"),
    [
        (Sparsity(0.5), "reconstruct", {60: "least_squares", 8: "sparsegpt", 4: "none"}),
        (Speedup(1.5), "budget", {20: 8.0, 8: 2.0}),
    ],
    ids=["sparsity", "speedup"],
)
def test_a_short_time_has_a_cheaper_way(goal, key, by_minutes):
    found = {}
    for minutes in by_minutes:
        recipe, _, shared = share_out(goal, SUBJECT, TEXT, 60 * minutes)
        chosen = recipe.experiment(SUBJECT, shared.evaluations)["problem"][key]
        found[minutes] = chosen["seconds"] if key == "budget" else chosen
    assert found == by_minutes


@pytest.mark.parametrize("speed", [20, 200, 5000])
@pytest.mark.parametrize(
    "goal",
    [Size(75e6), Size(60e6), Bits(4.5), Remove(0.15), Speedup(1.3)],
    ids=lambda goal: f"{goal.option} {goal.value}",
)
def test_any_time_is_enough_for_a_file_and_more_time_trains_longer(goal, speed):
    subject = replace(SUBJECT, scored=1 / speed, one_file=True, trainable=True, least=7e7)
    found = [share_out(goal, subject, TEXT, seconds)[2] for seconds in (10, 100, 600, 3600, 36000)]
    assert all(one.training <= other.training for one, other in pairwise(found))
    assert found[0].training == 0 < found[-1].training
    assert found[-1].seconds == pytest.approx(36000)
    for one in found:
        assert 0 < one.searching <= one.seconds - one.exporting - one.training
    assert found[-1].training > found[-1].seconds / 2
    untrained = replace(subject, trainable=False)
    assert share_out(goal, untrained, TEXT, 36000)[2].training == 0


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("bits", [2.0, 3.5, 4.5, 5.5, 6.5, 8.0])
@pytest.mark.parametrize("widths", [(576, 1536), (896, 4864), (2048, 8192)])
def test_types_around_the_wanted_bits_are_few_and_reach_them(bits, widths, fast):
    found = types_near(bits, widths, [], fast)
    assert len(found) <= 9
    assert types_near(bits, widths, ["Q5_1", "F16", "F32"], fast) == found
    assert ["Q8_0", *types_near(bits, widths, ["Q8_0", "Q4_0", "F32"], fast)] == found
    sizes = {kind: 8 * ggml.row_bytes(kind, 256) / 256 for kind in found}
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    for width in widths:
        own = [size for kind, size in sizes.items() if ggml.fits(kind, width)]
        assert min(own) <= max(bits, 2.625 if width % 256 == 0 else 4.25)
    rows = {width: 3 * width for width in widths}
    assert quantising_seconds(found, rows) > 0
    sizes = (3 * ggml.row_bytes(kind, width) for kind in found for width in widths if ggml.fits(kind, width))
    assert quantised_bytes(found, rows) == pytest.approx(sum(sizes))


def test_matrices_are_quantised_to_types_that_are_smaller_than_their_own():
    own = {"Q4_1": {576: 10**8}, "Q8_0": {576: 10**7}, "F16": {1536: 10**6}}
    subject = replace(SUBJECT, one_file=True, kinds_of_source=[*own], by_kind=own)
    goal = Size(75e6)
    types = goal.types(subject)
    below = [kind for kind in types if ggml.row_bytes(kind, 256) < ggml.row_bytes("Q4_1", 256)]
    assert {*below} < {*types}
    pairs = [(below, own["Q4_1"]), ([kind for kind in types if kind != "Q8_0"], own["Q8_0"]), (types, own["F16"])]
    assert goal.setup_seconds(subject) == pytest.approx(sum(quantising_seconds(*pair) for pair in pairs))
    assert goal.cached_bytes(subject) == pytest.approx(sum(quantised_bytes(*pair) for pair in pairs))
    assert goal.setup_seconds(subject) < goal.setup_seconds(replace(subject, kinds_of_source=[], by_kind={}))


@pytest.mark.parametrize("width", [1536, 640, 256, 11008, 4864])
def test_a_step_of_channels_divides_the_width_into_about_twelve(width):
    assert channel_step(width, 256) % (256 if width % 256 == 0 else 32) == 0
    found = channel_step(width)
    assert width % found == 0
    assert found >= 32
    possible = [size for size in range(32, width + 1, 32) if width % size == 0]
    assert abs(found - width / 12) == min(abs(size - width / 12) for size in possible)


@pytest.mark.parametrize("mark", ["\n", " "], ids=["lines", "one line"])
def test_the_parts_of_a_text_have_no_word_in_common_and_make_up_the_whole(tmp_path, mark):
    words = [f"word{number}" for number in range(9000)]
    (tmp_path / "all.txt").write_text(mark.join(words))
    found = divide(str(tmp_path / "all.txt"), 2048)
    texts = [
        load_text(TextSettings(**found.parts[name]), "text").split() for name in ("search", "calibration", "report")
    ]
    assert [word for text in texts for word in text] == words
    assert list(found.tokens.values()) == [len(text) for text in texts]
    assert all(abs(len(text) / len(words) - share) < 0.01 for text, share in zip(texts, (0.3, 0.45, 0.25), strict=True))


def test_windows_are_as_long_as_the_text_and_the_model_allow(tmp_path):
    def window(words, longest):
        (tmp_path / "all.txt").write_text(" ".join(["word"] * words))
        return divide(str(tmp_path / "all.txt"), longest).window

    assert window(30_000, 2048) == 512
    assert window(30_000, 256) == 256
    assert window(12_000, 2048) == 256
    assert window(30_000, 100) == 100
    with pytest.raises(InputError, match="has about 3,000 tokens; expected at least 5,120"):
        window(3_000, 2048)


def test_of_a_very_long_text_each_part_gives_its_begin_alone(tmp_path):
    (tmp_path / "all.txt").write_text("word " * 2_000_000)
    found = divide(str(tmp_path / "all.txt"), 2048)
    assert sum(found.tokens.values()) == pytest.approx(800_000, rel=0.01)
    begins = [found.parts[name]["part"][0] for name in ("search", "calibration", "report")]
    assert begins == [0.0, 0.3, 0.75]

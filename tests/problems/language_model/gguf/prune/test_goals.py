"""Goals of .gguf files choose types and cuts by the size that is wanted and the least that types reach."""

from dataclasses import replace

import pytest

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.prune.goals import Bits
from evoprune.problems.language_model.gguf.prune.output import GgufOutput, GgufPruneOptions
from evoprune.problems.language_model.gguf.prune.source_types import FAST, SourceTypes
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH, ONE_WIDTH_IN_ALL
from evoprune.problems.language_model.prune.goals import Remove, Size, Speedup
from tests.problems.language_model.prune.test_goals import FACTS, made, uses

SOURCE = SourceTypes({576: 10**8, 1536: 3 * 10**7})


def file(source=SOURCE, types=(), **asked):
    """The output of a file from a ``source``, with ``types`` to choose from."""
    output = GgufOutput("model.gguf", GgufPruneOptions(**asked))
    output.take(source)
    output._types = [*types]
    return output


def of(*types, **others):
    return replace(SOURCE, types=frozenset(types), **others)


def test_a_model_that_cannot_be_taken_apart_has_types():
    assert uses(Size(5e7), replace(FACTS, width=None), file(types=["Q4_0"])) == ["types"]


@pytest.mark.parametrize(
    ("own", "step"), [(["F32", "Q4_1", "Q8_0"], 128), (["F32", "Q6_K"], 256), (["F16"], 128)], ids=["32", "256", "none"]
)
def test_a_file_of_a_narrower_model_has_the_types_of_its_source(own, step):
    *_, channels, last = made(Remove(0.15), output=file(of(*own)))["transforms"]
    if own == ["F16"]:
        channels = last
    else:
        assert last == {"use": "types", "types": [], "from_source": True}
    assert (channels["use"], channels["step"]) == ("channels", step)
    output = file(of(*own))
    output.choose_types(Speedup(1.3), None)
    assert bool(output._types) == (own != ["F16"])


@pytest.mark.parametrize(("form", "cuts"), [(ONE_WIDTH, ["sublayers", "channels"]), (ONE_WIDTH_IN_ALL, ["channels"])])
def test_where_all_blocks_of_a_file_are_alike_whole_ones_go_and_channels_of_all(form, cuts):
    *found, types = made(Remove(0.5), output=file(of("Q8_0", form=form)))["transforms"]
    assert [cut["use"] for cut in found] == cuts
    assert types["from_source"]
    assert found[-1].items() >= {"genes": "model", "drop": False}.items()


def test_only_whole_blocks_go_where_ordering_channels_takes_too_long():
    cuts = made(Remove(0.5), output=file(of("Q8_0", form=ONE_WIDTH)), whole_blocks=True)["transforms"]
    assert [cut["use"] for cut in cuts] == ["sublayers", "types"]


def test_where_all_blocks_of_a_file_are_alike_types_alone_make_it_faster_as_far_as_they_can():
    source = of("Q8_0", "Q5_0", shrinking=6.5 / 4.5, form=ONE_WIDTH)
    faster = made(Speedup(1.3), output=file(source, FAST))
    assert [each["use"] for each in faster["transforms"]] == ["types"]
    assert (faster["budget"]["speedup"], faster["recover"]["train"]) == (1.3, "scales")
    for goal, own in [(Speedup(1.5), source), (Speedup(1.3), replace(source, form=BLOCKS))]:
        assert "channels" in uses(goal, output=file(own))


def test_a_mixture_loses_experts_and_has_types():
    facts, output = replace(FACTS, width=None, experts=True), file(replace(SOURCE, least=7e7), ["Q4_0"])
    experts, types = made(Size(6e7), facts, output)["transforms"]
    assert experts == {"use": "experts", "genes": "model"}
    assert types["use"] == "types"
    output.asked = GgufPruneOptions(imatrix="known.gguf")
    assert made(Size(6e7), facts, output)["transforms"][-1]["imatrix"] == "known.gguf"
    assert uses(Size(8e7), facts, output) == ["types"]


def test_near_the_smallest_file_of_types_heads_and_channels_go_too():
    facts, output = replace(FACTS, roomy=True), file(of("Q4_1", least=7e7), ["Q4_0"])
    bits = Bits(8 * 6e7 / SOURCE.weights)
    for goal, cuts in [(Size(6e7), True), (Size(7.5e7), True), (Size(8e7), False), (bits, True)]:
        assert bool(goal.removed(facts, output)) == cuts
        assert ("channels" in uses(goal, facts, output)) == cuts
        assert not goal.removed(replace(facts, width=None), output)
        assert made(goal, facts, output)["recover"]["train"] == ("all" if cuts else "scales")


@pytest.mark.parametrize("bits", [2.0, 3.5, 4.5, 5.5, 6.5, 8.0])
@pytest.mark.parametrize("widths", [(576, 1536), (896, 4864), (2048, 8192)])
def test_types_that_are_quick_to_make_take_part_and_one_that_reaches_the_wanted_bits(bits, widths):
    source = SourceTypes(dict.fromkeys(widths, 1))
    everything = {kind for kind in ggml.usual(widths) if any(ggml.fits(kind, width) for width in widths)}
    assert ("Q2_0" in everything) == (2048 not in widths)
    found = source.types_within(bits)
    assert {*found} == everything
    assert replace(source, types=frozenset(["Q5_1", "F16", "F32"])).types_within(bits) == found
    assert "Q8_0" not in replace(source, types=frozenset(["Q8_0", "Q4_0", "F32"])).types_within(bits)
    sizes = [ggml.bits(kind) for kind in found]
    assert sizes == sorted(sizes, reverse=True)
    slow = dict.fromkeys(everything, 2.0) | {"Q8_0": 1.0}
    few = source.types_within(bits, slow)
    assert {"Q8_0"} <= {*few} < everything
    for width in widths:
        own = [ggml.bits(kind) for kind in few if ggml.fits(kind, width)]
        assert min(own) <= max(bits, min(ggml.bits(kind) for kind in everything if ggml.fits(kind, width)))

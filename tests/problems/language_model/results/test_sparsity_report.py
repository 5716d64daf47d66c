"""Each figure is drawn, and its sentence states what is in it."""

import math

import pytest

from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.results import sparsity_report as figures
from tests.problems.language_model.small import random_model

pytestmark = pytest.mark.usefixtures("drawn")

UNIFORM = [(0.0, 20.0), (0.2, 30.0), (0.4, 90.0), (0.6, math.inf)]


def content(folder, name):
    assert (folder / f"{name}.png").exists()
    return (folder / f"{name}.svg").read_text()


@pytest.mark.parametrize("evolved", [41.0, math.inf])
def test_the_cliff_with_all_that_stands_beside_it(tmp_path, evolved):
    told = figures.draw_cliff(
        UNIFORM, (0.4, 90.0), (0.4, evolved), tmp_path, allocations={"owl": 70.0}, reconstructed={"uniform": 50.0}
    )
    for words in ("dense: 20", "uniform at 40%: 90", "owl: 70", "uniform, reconstructed: 50"):
        assert words in told
    assert ("evolved at 40%: infinite" in told) == math.isinf(evolved)
    assert ">owl: 70" in content(tmp_path, "cliff")


def test_without_a_curve_points_compare_what_there_is(tmp_path):
    marks = {"allocations": {"owl": 70.0}, "reconstructed": {}}
    at_target = (0.4, 12_345.6)
    told = figures.draw_cliff([UNIFORM[0], at_target], at_target, (0.4, math.inf), tmp_path, about="mine", **marks)
    assert "uniform at 40%: 12,346" in told
    assert "evolved at 40%: infinite" in told
    for text in (">12,346<", ">owl: 70<", ">mine<"):
        assert text in content(tmp_path, "cliff")


def test_the_sentence_on_an_allocation_names_the_blocks_that_lose_least_and_most(tmp_path):
    told = figures.draw_allocation([0.4, 0.1, 0.7], 0.4, tmp_path)
    assert "uniform: 40%" in told
    assert "from 10% in block 1 to 70% in block 2" in told
    blocks = content(tmp_path, "sparsity_by_layer")
    assert ">2</text>" in blocks  # blocks are counted from 0
    assert ">3</text>" not in blocks


def test_matrices_have_a_row_for_each_kind(tmp_path):
    matrices = find_matrices(random_model("gpt2"))
    told = figures.draw_matrices(matrices, {m.name: 0.1 * (1 + m.block) for m in matrices}, tmp_path)
    assert "from 10% of transformer.h.0.attn.c_attn to 30% of transformer.h.2.attn.c_attn" in told
    assert all(f">{matrix.kind}<" in content(tmp_path, "sparsity_by_matrix") for matrix in matrices)

"""The pictures of an exported file: the type of each matrix, and its loss against its size."""

from itertools import product

import pytest
from matplotlib.patches import Rectangle

from evoprune.problems.language_model.export.facts import ExportFacts, StoredMatrix
from evoprune.problems.language_model.export.figures import draw_types, drawn

Q4, Q8 = {"type": "Q4_0", "bits": 4.5}, {"type": "Q8_0", "bits": 8.5}
SOURCE = {"name": "a.gguf", "bytes": 2_000_000, "perplexity": 20.0, "bits_per_byte": 1.0, "divergence": 0.0}
PRESET = SOURCE | {"name": "Q3_K_M", "bytes": 1_000_000, "bits_per_byte": 1.25}


@pytest.fixture
def matrices():
    """Of two blocks, one of them narrower, and an embedding."""
    shapes = {"attn_q": (64, 64), "ffn_up": (96, 64)}
    found = {
        f"blk.{block}.{kind}.weight": StoredMatrix(rows=shapes[kind][0], width=shapes[kind][1], **Q4)
        for block, kind in product(range(2), shapes)
    }
    found["blk.1.ffn_up.weight"] = StoredMatrix(rows=32, width=64, **Q4)
    return found | {"token_embd.weight": StoredMatrix(rows=256, width=64, **Q8)}


def test_each_matrix_is_a_cell_at_its_block_and_kind_in_the_colour_of_its_bits(matrices):
    (axes,) = draw_types(matrices)[0].axes
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(*cell.get_xy(), cell.get_width()) for cell in cells] == [
        (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 1), (0, 2, 2)
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_yticklabels()] == ["attn_q", "ffn_up", "token_embd"]
    *of_blocks, embedding = [cell.get_facecolor() for cell in cells]
    assert len(set(of_blocks)) == 1
    assert embedding not in of_blocks
    words = [text.get_text() for text in axes.texts]
    assert words == ["Q4_0", "Q4_0", "Q4_0", "Q4_0\n32 x 64", "Q8_0"]


def test_shares_of_the_types_are_those_of_the_weights(matrices):
    _, told = draw_types(matrices)
    q4 = 64 * (64 + 64 + 96 + 32)
    assert f"Q8_0 {256 * 64 / (q4 + 256 * 64):.1%}" in told
    assert "1 are narrower" in told


def test_what_was_measured_of_source_file_and_preset_is_in_words(facts, matrices):
    assert not drawn(ExportFacts.read(facts))
    facts["check"]["bits_per_byte"] = 1.125
    measured = facts | {"matrices": matrices, "source": SOURCE, "preset": PRESET, "bytes": 1_100_000}
    (types, _), (loss, words) = drawn(ExportFacts.read(measured)).values()
    for figure in (types, loss):
        figure.draw_without_rendering()
    for point in ("2.0 MB, 0.0000", "1.1 MB, 0.1250", "Q3_K_M 1.0 MB, 0.2500"):
        assert point in words

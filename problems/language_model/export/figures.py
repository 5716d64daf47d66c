"""Figures of an exported .gguf file: the type of each matrix, and its loss against its size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from evoprune.figures import BLUE, GREY, ORANGE, new
from evoprune.problems.language_model.export.facts import ExportFacts, StoredMatrix
from evoprune.problems.language_model.results.summary import megabytes

_FEWEST, _MOST = 2.0, 8.5  # bits at the ends of the colours; 16 bits have the colour of the most
_DARK = 0.5  # share of the colours that white words are read on
_MOST_LABELS = 48  # blocks whose types are written into the picture

Drawn = tuple[Figure, str]
"""A figure and its caption."""


def drawn(facts: ExportFacts) -> Mapping[str, Drawn]:
    """Figures for the page of a run; none where nothing was measured."""
    found = {}
    if facts.matrices:
        found["types of all matrices"] = draw_types(facts.matrices)
    if facts.source and facts.source.bits_per_byte is not None and facts.check.bits_per_byte is not None:
        name = "the source" if facts.protocol.model.endswith(".gguf") else facts.source.name
        measured = {name: (facts.source.bytes, facts.source.bits_per_byte)}
        measured["this file"] = facts.bytes, facts.check.bits_per_byte
        if facts.preset and facts.preset.bits_per_byte is not None:
            measured[facts.preset.name] = facts.preset.bytes, facts.preset.bits_per_byte
        found["loss against size"] = _draw_sizes(measured, name)
    return found


def draw_types(matrices: Mapping[str, StoredMatrix]) -> Drawn:
    """Draw a cell for each matrix: a column for each block, a row for each kind; the colour says the bits."""
    places = {name: _place(name) for name in matrices}
    usual: dict[str, tuple[int, int]] = {}  # the largest shape of each kind
    for name, matrix in matrices.items():
        kind = places[name][1]
        usual[kind] = max(usual.get(kind, (0, 0)), (matrix.rows, matrix.width))
    blocks = 1 + max((block for block, _ in places.values() if block is not None), default=0)
    rows, weights, narrow = list(usual), Counter[str](), 0
    figure, axes = new(width=9.0, height=1.4 + 0.36 * len(rows))
    for name, matrix in matrices.items():
        block, kind = places[name]
        x, wide = (0, blocks) if block is None else (block, 1)
        y = rows.index(kind)
        words = [matrix.type]
        if (matrix.rows, matrix.width) != usual[kind]:
            words.append(f"{matrix.rows} x {matrix.width}")
            narrow += 1
        weights[matrix.type] += matrix.rows * matrix.width
        axes.add_patch(Rectangle((x, y), wide, 1, facecolor=_colour(matrix.bits), edgecolor="white", linewidth=0.8))
        if blocks <= _MOST_LABELS:
            axes.text(
                x + wide / 2, y + 0.5, "\n".join(words), ha="center", va="center",
                fontsize=8 if block is None else 5, rotation=0 if block is None or blocks <= 12 else 90,
                color="#1b1b1b" if _share(matrix.bits) > _DARK else "#ffffff",
            )  # fmt: skip
    axes.set(xlim=(0, blocks), ylim=(len(rows), 0), xlabel="block")
    axes.grid(visible=False)
    ticks = range(0, blocks, max(1, blocks // 16))
    axes.set_xticks([at + 0.5 for at in ticks], [str(at) for at in ticks])
    axes.set_yticks([at + 0.5 for at in range(len(rows))], rows)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bits = sorted({(-matrix.bits, matrix.type) for matrix in matrices.values()})
    patches = [Patch(facecolor=_colour(-less), label=f"{kind} ({-less:.4g} bits)") for less, kind in bits]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize="small", frameon=False)
    shares = ", ".join(f"{kind} {size / weights.total():.1%}" for kind, size in weights.most_common())
    cut = f" {narrow} are narrower than others of their kind; their shapes, rows x width, are given." if narrow else ""
    return (
        figure,
        f"Types of the {len(matrices)} matrices in the file. Shares of the weights: {shares}.{cut}",
    )


def _draw_sizes(measured: Mapping[str, tuple[int, float]], source: str) -> Drawn:
    """Draw bits per byte behind the ``source`` against bytes. ``measured``: bytes and bits per byte by name."""
    points = {name: (size, bits - measured[source][1]) for name, (size, bits) in measured.items()}
    figure, axes = new(width=7.0, height=3.2)
    for (name, (size, lost)), colour, marker in zip(points.items(), (GREY, ORANGE, BLUE), "s*o", strict=False):
        axes.plot(size / 1e6, lost, marker, color=colour, markersize=14 if marker == "*" else 8, clip_on=False)
        axes.annotate(name, (size / 1e6, lost), (0, 10), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(0.18)
    axes.set(xlabel="MB of the file", ylabel=f"bits per byte behind {source}")
    words = "; ".join(f"{name} {megabytes(size)}, {lost:.4f}" for name, (size, lost) in points.items())
    return figure, f"Bits per byte of the report text behind {source}, in llama.cpp, by size: {words}."


def _place(name: str) -> tuple[int | None, str]:
    """Return the block, if any, and the kind of the matrix ``name``, such as ``blk.3.attn_q.weight``."""
    found = re.fullmatch(r"blk\.(\d+)\.(.+?)(\.weight)?", name)
    return (int(found[1]), found[2]) if found else (None, name.removesuffix(".weight"))


def _colour(bits: float) -> str:
    return to_hex(colormaps["viridis"](_share(bits)))


def _share(bits: float) -> float:
    return (min(max(bits, _FEWEST), _MOST) - _FEWEST) / (_MOST - _FEWEST)

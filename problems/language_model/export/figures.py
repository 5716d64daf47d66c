"""Figures of an exported .gguf file: the type of each matrix, and its loss against its size."""

from __future__ import annotations

import re
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

Drawn = Mapping[str, tuple[Figure, str]]


def drawn(facts: ExportFacts) -> Drawn:
    """Figures for the page of a run, and their captions; none where nothing was measured."""
    found = {}
    if facts.matrices:
        found["types of all matrices"] = draw_types(facts.matrices), describe_types(facts.matrices)
    if facts.source and facts.source.bits_per_byte is not None and facts.check.bits_per_byte is not None:
        points = _points(facts)
        found["loss against size"] = draw_sizes(points), describe_sizes(points)
    return found


def draw_types(matrices: Mapping[str, StoredMatrix]) -> Figure:
    """Draw a cell for each matrix: a column for each block, a row for each kind; the colour says the bits."""
    cells = [(_place(name), matrix) for name, matrix in matrices.items()]
    blocks = 1 + max((block for (block, _), _ in cells if block is not None), default=0)
    rows = list(dict.fromkeys(kind for (_, kind), _ in cells))
    usual = _usual_shapes(matrices)
    figure, axes = new(width=9.0, height=1.4 + 0.36 * len(rows))
    for (block, kind), matrix in cells:
        left, wide = (0, blocks) if block is None else (block, 1)
        colour = _colour(matrix.bits)
        axes.add_patch(Rectangle((left, rows.index(kind)), wide, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
        words = [matrix.type] + [f"{matrix.rows} x {matrix.width}"] * ((matrix.rows, matrix.width) != usual[kind])
        if blocks <= _MOST_LABELS:
            axes.text(
                left + wide / 2, rows.index(kind) + 0.5, "\n".join(words), ha="center", va="center",
                fontsize=8 if block is None else 5, rotation=0 if block is None or blocks <= 12 else 90,
                color="#1b1b1b" if _share(matrix.bits) > _DARK else "#ffffff",
            )  # fmt: skip
    axes.set(xlim=(0, blocks), ylim=(len(rows), 0), xlabel="block")
    axes.grid(visible=False)
    step = max(1, blocks // 16)
    axes.set_xticks([at + 0.5 for at in range(0, blocks, step)], [str(at) for at in range(0, blocks, step)])
    axes.set_yticks([at + 0.5 for at in range(len(rows))], rows)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bits = dict(sorted({(each.type, each.bits) for each in matrices.values()}, key=lambda each: (-each[1], each[0])))
    patches = [Patch(facecolor=_colour(own), label=f"{kind} ({own:.4g} bits)") for kind, own in bits.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize="small", frameon=False)
    return figure


def describe_types(matrices: Mapping[str, StoredMatrix]) -> str:
    """Return :func:`draw_types` in words: the share of the weights in each type."""
    weights: dict[str, int] = {}
    for matrix in matrices.values():
        weights[matrix.type] = weights.get(matrix.type, 0) + matrix.rows * matrix.width
    whole = sum(weights.values())
    shares = sorted(weights.items(), key=lambda each: -each[1])
    told = ", ".join(f"{kind} {size / whole:.1%}" for kind, size in shares)
    usual = _usual_shapes(matrices)
    narrow = sum((each.rows, each.width) != usual[_place(name)[1]] for name, each in matrices.items())
    cut = f" {narrow} are narrower than others of their kind; their shapes, rows x width, are given." if narrow else ""
    return f"The type of each of the {len(matrices)} matrices in the file. Shares of the weights: {told}.{cut}"


def draw_sizes(points: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw bits per byte behind the source against bytes, of each of ``points`` by name."""
    figure, axes = new(width=7.0, height=3.2)
    for (name, (size, lost)), colour, marker in zip(points.items(), (GREY, ORANGE, BLUE), "s*o", strict=False):
        axes.plot(size / 1e6, lost, marker, color=colour, markersize=14 if marker == "*" else 8, clip_on=False)
        axes.annotate(name, (size / 1e6, lost), (0, 10), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(0.18)
    axes.set(xlabel="MB of the file", ylabel=f"bits per byte behind {next(iter(points))}")
    return figure


def describe_sizes(points: Mapping[str, tuple[float, float]]) -> str:
    """Return :func:`draw_sizes` in words."""
    told = [f"{name} {megabytes(size)}, {lost:.4f}" for name, (size, lost) in points.items()]
    return f"Bits per byte of the report text behind {next(iter(points))}, in llama.cpp, by size: {'; '.join(told)}."


def _points(facts: ExportFacts) -> dict[str, tuple[float, float]]:
    assert facts.source is not None
    name = "the source" if facts.protocol.model.endswith(".gguf") else facts.source.name
    measured = {name: (facts.source.bytes, facts.source.bits_per_byte)}
    measured["this file"] = facts.bytes, facts.check.bits_per_byte
    if facts.preset:
        measured[facts.preset.name] = facts.preset.bytes, facts.preset.bits_per_byte
    of_source = facts.source.bits_per_byte or 0.0
    return {name: (size, bits - of_source) for name, (size, bits) in measured.items() if bits is not None}


def _place(name: str) -> tuple[int | None, str]:
    """Return the block, if any, and the kind of the matrix ``name``, such as ``blk.3.attn_q.weight``."""
    found = re.fullmatch(r"blk\.(\d+)\.(.+?)(\.weight)?", name)
    return (int(found[1]), found[2]) if found else (None, name.removesuffix(".weight"))


def _usual_shapes(matrices: Mapping[str, StoredMatrix]) -> dict[str, tuple[int, int]]:
    """The largest shape of each kind."""
    shapes: dict[str, tuple[int, int]] = {}
    for name, matrix in matrices.items():
        kind = _place(name)[1]
        shapes[kind] = max(shapes.get(kind, (0, 0)), (matrix.rows, matrix.width))
    return shapes


def _colour(bits: float) -> str:
    return to_hex(colormaps["viridis"](_share(bits)))


def _share(bits: float) -> float:
    return (min(max(bits, _FEWEST), _MOST) - _FEWEST) / (_MOST - _FEWEST)

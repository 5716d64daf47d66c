"""Figures of trees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evoprune.figures.style import BLUE, GREY, entitle, new_figure, save_figure

_LEAF, _WIDEST = 0.9, 40.0  # inches


def draw_tree(labels: Sequence[str], arities: Sequence[int], title: str, about: str, folder: Path, name: str) -> None:
    """Draw a tree in prefix notation, its root on top; arguments as of :func:`entitle` and :func:`save_figure`.

    ``labels`` and ``arities``: of each node, its text and the number of its children.
    """
    places, edges = layout(arities)
    leaves, levels = (1 + max(place[axis] for place in places) for axis in (0, 1))
    figure, axes = new_figure(max(5.0, min(_WIDEST, _LEAF * leaves)), 1.0 + 0.7 * levels)
    for upper, lower in edges:
        axes.plot(*zip(places[upper], places[lower], strict=True), color=GREY, linewidth=1, zorder=1)
    for (x, y), label, arity in zip(places, labels, arities, strict=True):
        box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": BLUE if arity else "none"}
        size = 11 * min(1.0, _WIDEST / (_LEAF * leaves))
        axes.text(x, y, label, ha="center", va="center", fontsize=size, bbox=box, zorder=2)
    axes.set_xlim(-0.5, leaves - 0.5)
    axes.set_ylim(levels - 0.5, -0.5)
    axes.set_axis_off()
    entitle(axes, title, about)
    save_figure(figure, folder, name)


def layout(arities: Sequence[int]) -> tuple[list[tuple[float, int]], list[tuple[int, int]]]:
    """Return each node's place, across and down from the root, and the pairs of a node and its child.

    Leaves stand side by side, at whole numbers from 0, and other nodes above the middle of their children.
    """
    across, depths, edges = [0.0] * len(arities), [0] * len(arities), list[tuple[int, int]]()
    pending, leaf = list[int](), arities.count(0)
    for node in reversed(range(len(arities))):
        if children := [pending.pop() for _ in range(arities[node])]:
            across[node] = (across[children[0]] + across[children[-1]]) / 2
            edges += [(node, child) for child in children]
        else:
            leaf -= 1
            across[node] = float(leaf)
        pending.append(node)
    for node, child in sorted(edges):
        depths[child] = depths[node] + 1
    return list(zip(across, depths, strict=True)), edges

"""The family tree of a run's best candidate: who is in it, drawn, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evoprune.console.formatting import plain
from evoprune.figures import BLUE, GREY, ORANGE, log_scale_if_wide, new

MOST = 400
"""A tree is cut here: it is for reading."""

Json = dict[str, Any]


def ancestors(best: int, candidates: Mapping[int, Json]) -> list[Json]:
    """The candidate ``best`` and all it descends from, the youngest first, from history lines by number."""
    found: set[int] = set()
    waiting = [best]
    while waiting and len(found) < MOST:
        number = waiting.pop(0)
        if number in found or number not in candidates:
            continue
        found.add(number)
        waiting += _parents(candidates[number])
    return [candidates[number] for number in sorted(found, reverse=True)]


def draw(family: Sequence[Json], best: int, label: str, weight: float) -> Figure:
    """Fitness (the first objective, called ``label``) by generation of birth, a line from each parent to its child.

    In a large family the lines of all parents are a tangle; that of the better parent of each
    stands out. ``weight``: negative if the objective is minimised. What failed is left out.
    """
    figure, axes = new()
    places = {line["candidate"]: (line["generation"], line["fitness"][0]) for line in _scored(family)}
    pairs = [(parent, child["candidate"]) for child in family for parent in _parents(child)]
    links = [(places[parent], places[child]) for parent, child in pairs if {parent, child} <= places.keys()]
    few = len(places) <= 60
    axes.add_collection(LineCollection(links, colors=GREY, linewidths=0.9 if few else 0.5, alpha=0.6 if few else 0.35))
    line = [places[number] for number in _better_parents(best, pairs, places, weight)]
    if len(line) > 1:
        axes.plot(*zip(*line, strict=True), color=ORANGE, linewidth=1.5, zorder=2, label="the better parents")
    bred = {child for _, child in pairs}
    others = places.keys() - {best}
    for name, numbers, face in (("without parents", others - bred, "white"), ("bred", others & bred, BLUE)):
        if numbers:
            x, y = zip(*(places[number] for number in numbers), strict=True)
            axes.scatter(x, y, s=22 if few else 9, facecolors=face, edgecolors=BLUE, zorder=3, label=name)
    if best in places:
        axes.scatter(*places[best], s=130, marker="*", color=ORANGE, zorder=4, label="the best")
    log_scale_if_wide(axes, [fitness for _, fitness in places.values()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="generation of birth", ylabel=label, title="Family tree of the best candidate")
    axes.legend()
    return figure


def _better_parents(
    best: int, pairs: Sequence[tuple[int, int]], places: Mapping[int, tuple[int, float]], weight: float
) -> list[int]:
    """From ``best`` back: its better parent, that one's better parent, and so on."""
    parents: dict[int, list[int]] = {}
    for parent, child in pairs:
        if parent in places and parent < child:  # a parent is born first: without this, a forged file could go in rings
            parents.setdefault(child, []).append(parent)
    line = [best] if best in places else []
    while line and line[-1] in parents:
        line.append(max(parents[line[-1]], key=lambda number: weight * places[number][1]))
    return line


def in_words(family: Sequence[Json], best: int) -> str:
    """What :func:`draw` shows, for readers who cannot see it."""
    born = {line["candidate"]: line["generation"] for line in family}
    scored = {line["candidate"]: line["fitness"][0] for line in _scored(family)}
    founders = [line["fitness"][0] for line in _scored(family) if not _parents(line)]
    words = f"The best, {plain(scored.get(best))}, was born in generation {born[best]}. "
    words += f"It has {len(family) - 1} ancestors, of generations {min(born.values())} to {max(born.values())}"
    if founders:
        words += f"; those without parents have {plain(min(founders))} to {plain(max(founders))}"
    cut = any(parent not in born for line in family for parent in _parents(line))
    return words + ("; older ones are left out." if cut else ".")


def _scored(family: Sequence[Json]) -> list[Json]:
    return [line for line in family if line["fitness"][0] is not None]


def _parents(line: Json) -> list[int]:
    parents = line.get("parents")
    return [p for p in parents if isinstance(p, int)] if isinstance(parents, list) else []

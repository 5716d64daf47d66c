"""Figures that a page adds to a run's own: the family tree of its best candidate, and the curves of several runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evoprune.console.formatting import digits, plain
from evoprune.figures import BLUE, COLOURS, GREY, ORANGE, entitle, log_scale_if_wide, new

MOST_ANCESTORS = 400

Json = dict[str, Any]
Curve = Sequence[tuple[int, float]]  # generations, and the best after each


def ancestors(best: int, candidates: Mapping[int, Json]) -> list[Json]:
    """Return the candidate ``best`` and its ancestors, the youngest first; ``candidates``: history lines by number."""
    found: set[int] = set()
    waiting = [best]
    while waiting and len(found) < MOST_ANCESTORS:
        number = waiting.pop(0)
        if number in found or number not in candidates:
            continue
        found.add(number)
        waiting += _parents(candidates[number])
    return [candidates[number] for number in sorted(found, reverse=True)]


def draw_family(family: Sequence[Json], best: int, label: str, weight: float) -> Figure:
    """Draw fitness (``label``) by generation of birth, with a line from each parent to its child."""
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


def describe_family(family: Sequence[Json], best: int) -> str:
    """Return :func:`draw_family` in words."""
    born = {line["candidate"]: line["generation"] for line in family}
    scored = {line["candidate"]: line["fitness"][0] for line in _scored(family)}
    founders = [line["fitness"][0] for line in _scored(family) if not _parents(line)]
    words = f"The best, {plain(scored.get(best))}, was born in generation {born[best]}. "
    words += f"It has {len(family) - 1} ancestors, of generations {min(born.values())} to {max(born.values())}"
    if founders:
        words += f"; those without parents have {plain(min(founders))} to {plain(max(founders))}"
    cut = any(parent not in born for line in family for parent in _parents(line))
    return words + ("; older ones are left out." if cut else ".")


def draw_curves(curves: Mapping[str, Curve], references: Mapping[str, float], label: str, about: str) -> Figure:
    """Draw the best so far (``label``) of several runs, by name, and the ``references`` that they share."""
    figure, axes = new()
    for (name, curve), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        axes.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=name)
    for (name, value), style in zip(references.items(), ("--", ":") * len(references), strict=False):
        axes.axhline(value, color=GREY, linestyle=style, label=f"{name}: {digits(value)}")
    shown = [value for curve in curves.values() for _, value in curve]
    log_scale_if_wide(axes, [*shown, *references.values()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="generation", ylabel=label)
    entitle(axes, "Best so far", about)
    axes.legend(fontsize="small")
    return figure


def describe_curves(curves: Mapping[str, Curve]) -> str:
    """Return :func:`draw_curves` in words."""
    told = [f"{name}: {plain(curve[0][1])} to {plain(curve[-1][1])}" for name, curve in curves.items()]
    return f"The best of each run after each generation, from the first to the last. {'; '.join(told)}."


def _better_parents(
    best: int, pairs: Sequence[tuple[int, int]], places: Mapping[int, tuple[int, float]], weight: float
) -> list[int]:
    """``best``, its better parent, that one's better parent, and so on."""
    parents: dict[int, list[int]] = {}
    for parent, child in pairs:
        if parent in places and parent < child:  # a forged file could go in rings
            parents.setdefault(child, []).append(parent)
    line = [best] if best in places else []
    while line and line[-1] in parents:
        line.append(max(parents[line[-1]], key=lambda number: weight * places[number][1]))
    return line


def _scored(family: Sequence[Json]) -> list[Json]:
    return [line for line in family if line["fitness"][0] is not None]


def _parents(line: Json) -> list[int]:
    parents = line.get("parents")
    return [p for p in parents if isinstance(p, int)] if isinstance(parents, list) else []

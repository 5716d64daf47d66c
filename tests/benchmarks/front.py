"""Compare one search over cuts and types with single transforms: the areas that their fronts cover.

::

    python -m tests.benchmarks.front FRONT... --together joint --single types cuts --edges 1.4 1.6 2.2 2.7 3.2 4.5

Each FRONT is a folder that ``evoprune front`` made with these families, of one seed. The area, or hypervolume, is that
of the plane of megabytes and log10 of divergence which a front covers, up to the divergence of ``--worst``: of two
fronts the better one covers more. The single transforms are one front, of the best of them at each size.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean

from evoprune.fronts.points import Front, read

Place = tuple[float, float]
"""Megabytes, and the divergence in nats a token."""


def covered(places: Collection[Place], low: float, high: float, worst: float) -> float:
    """The area that ``places`` cover between ``low`` and ``high`` megabytes, in megabytes times log10 of divergence.

    A place covers all that is larger and has a larger divergence, up to ``worst``.
    """
    area, best, at = 0.0, worst, low
    for size, divergence in [*sorted(place for place in places if place[0] < high), (high, worst)]:
        area += max(0.0, size - at) * math.log10(worst / best)
        at, best = max(at, size), min(best, divergence)
    return area


def places(front: Front, families: Collection[str]) -> list[Place]:
    """The places of the files of ``families``."""
    points = [point for point in front.points if point.family in families]
    return [(point.values["bytes"] / 1e6, point.values["divergence"]) for point in points]


def table(fronts: Sequence[Front], sides: Sequence[Collection[str]], edges: Sequence[float], worst: float) -> str:
    """A row for each region between two of ``edges``, in MB, and one for all: the areas of both ``sides``.

    Means over ``fronts``, and the least and the most; and in how many of them the first side covers more.
    """
    rows = ["| MB | together | single transforms | together covers more |", "|---|---|---|---|"]
    for low, high in [*pairwise(edges), (edges[0], edges[-1])]:
        areas = [[covered(places(front, side), low, high, worst) for front in fronts] for side in sides]
        more = sum(one > other for one, other in zip(*areas, strict=True))
        told = " | ".join(f"{mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in areas)
        rows.append(f"| {low:g} to {high:g} | {told} | {more} of {len(fronts)} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fronts", type=Path, nargs="+", metavar="FRONT", help="a folder for each seed")
    parser.add_argument("--together", nargs="+", default=["joint"], metavar="FAMILY")
    parser.add_argument("--single", nargs="+", default=["types", "cuts"], metavar="FAMILY")
    parser.add_argument("--edges", type=float, nargs="+", required=True, metavar="MB", help="of the regions")
    parser.add_argument("--worst", type=float, default=10.0, help="the divergence up to which areas count")
    given = parser.parse_args(arguments)
    print(table([read(folder) for folder in given.fronts], (given.together, given.single), given.edges, given.worst))


if __name__ == "__main__":
    main()

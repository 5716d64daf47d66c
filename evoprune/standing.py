"""By what and with what exports are compared, and where one of them stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Quantity:
    """A number by which exports are compared. ``label``: what it is called, with the unit.

    ``better``: which way; None where it is stated, and nothing is better for it.
    """

    label: str
    better: Literal["lower", "higher"] | None = None


@dataclass(frozen=True)
class Standing:
    """What was measured of an export. ``values``: by quantity; None, or left out, where it was not measured.

    ``measured_on``: the data, in words; only what was measured on the same is compared.
    """

    values: Mapping[str, float | str | None]
    measured_on: str


@dataclass(frozen=True)
class Rival:
    """A solution that the exports of a front are compared with.

    ``family``: the folder of its export. ``name``: that of its export; empty for what each run has of its own.
    ``make`` gives the problem that reports and exports it, its genome, and genomes that the report compares it with, by
    name; it raises :class:`evoprune.InputError` where there is none.
    """

    family: str
    name: str
    make: Callable[[], tuple[Any, Sequence[float], Mapping[str, Sequence[float]]]]

"""Sorting networks: comparators that sort each input, as few as possible; genomes of variable length."""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from pydantic import Field

import evoprune
from evoprune import Evaluation, Problem, Reporting, Result, Settings
from evoprune.plugins import BLUE, GREY, Outcome, entitle, new_figure, save_figure

Comparator = tuple[int, int]


class SortingNetworkSettings(Settings):
    """Parameters of the sorting network problem."""

    inputs: int = Field(8, ge=3, le=16, description="numbers to be sorted")
    longest: int = Field(40, ge=1, le=1000, description="most comparators")
    cost: float = Field(1.0, gt=0, description="cost of a comparator, beside 1 for each input that is not sorted")


class SortingNetworkResult(Result):
    """The keys of the engine, and the network."""

    network: list[Comparator]  #: the smaller number goes to the first wire of each
    comparators: int
    unsorted: int  #: of the inputs of zeros and ones
    steps: int  #: in which comparators of different wires work at once


class SortingNetwork(Problem, Reporting):
    """Sort a number of inputs by the fewest comparators (Knuth, "The Art of Computer Programming" 3, 5.3.4).

    A network sorts all inputs if it sorts zeros and ones.
    """

    Settings = SortingNetworkSettings
    Result = SortingNetworkResult
    settings: SortingNetworkSettings

    def __init__(self, settings: SortingNetworkSettings) -> None:
        super().__init__(settings)
        self._comparators = list(combinations(range(settings.inputs), 2))
        runs = [2**wire for wire in range(settings.inputs)]
        # bit k of a wire is its value in input k, the wire's own bit of k: ones and zeros in turn, from the highest k
        self._wires = [int(("1" * run + "0" * run) * (2 ** (settings.inputs - 1) // run), 2) for run in runs]

    @cached_property
    def space(self) -> evoprune.Sequence:
        return evoprune.Sequence(self._comparators, 1, self.settings.longest)

    def evaluate(self, genome: Sequence[int], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        unsorted = self.unsorted([self._comparators[place] for place in genome])
        return Evaluation((unsorted + self.settings.cost * len(genome),), measures={"unsorted": unsorted})

    def unsorted(self, network: Sequence[Comparator]) -> int:
        """Count the inputs of zeros and ones that ``network`` does not sort."""
        wires = [*self._wires]
        for upper, lower in network:
            wires[upper], wires[lower] = wires[upper] & wires[lower], wires[upper] | wires[lower]
        falling = 0
        for upper, lower in pairwise(wires):
            falling |= upper & ~lower
        return falling.bit_count()

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        network = [self._comparators[int(place)] for place in outcome.best]
        unsorted, inputs = self.unsorted(network), self.settings.inputs
        columns, steps = _columns(network)
        figure, axes = new_figure(max(5.0, 1.0 + 0.35 * max(columns)), 1.2 + 0.4 * inputs)
        axes.hlines(range(inputs), -1, max(columns) + 1, color=GREY, linewidth=1)
        for column, wires in zip(columns, network, strict=True):
            axes.plot([column, column], wires, "o-", color=BLUE, markersize=4)
        axes.set_yticks(range(inputs))
        axes.set_xticks([])
        axes.invert_yaxis()
        axes.grid(visible=False)
        faulty = f"; unsorted inputs of zeros and ones: {unsorted:,} of {2**inputs:,}" if unsorted else ""
        words = f"{len(network)} comparators for {inputs} inputs, in {steps} steps{faulty}"
        entitle(axes, words, outcome.title)
        save_figure(figure, folder, "network")
        facts = {"network": network, "comparators": len(network), "steps": steps, "unsorted": unsorted}
        return facts | {"figures": {"network": f"{words}. A comparator puts the smaller number on its upper wire."}}

    @classmethod
    def about(cls, settings: SortingNetworkSettings) -> str:
        return f"{settings.inputs} inputs"

    @classmethod
    def summary(cls, result: SortingNetworkResult) -> list[str]:
        but = f" of zeros and ones but {result.unsorted:,}" if result.unsorted else ""
        return [f"a network of {result.comparators} comparators, in {result.steps} steps, that sorts all inputs{but}"]

    @classmethod
    def labels_of(cls, settings: SortingNetworkSettings) -> tuple[str, ...]:  # noqa: ARG003 - the same for all
        return ("cost",)


def _columns(network: Sequence[Comparator]) -> tuple[list[int], int]:
    """Return the column of each comparator in a figure, where none covers another, and the number of parallel steps."""
    ready, steps, columns, used = dict[int, int](), list[int](), [0] * len(network), 0
    for upper, lower in network:
        steps.append(max(ready.get(upper, 0), ready.get(lower, 0)))
        ready[upper] = ready[lower] = steps[-1] + 1
    for step in range(max(steps) + 1):
        lowest = list[int]()  # wire in each column of this step
        for upper, lower, at in sorted((*network[at], at) for at, its_step in enumerate(steps) if its_step == step):
            place = next((place for place, wire in enumerate(lowest) if wire < upper), len(lowest))
            lowest[place : place + 1] = [lower]
            columns[at] = used + place
        used += len(lowest) + 1  # a gap between steps
    return columns, max(steps) + 1

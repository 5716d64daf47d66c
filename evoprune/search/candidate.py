"""What is to be scored, and the part of its history line that is known before."""

from __future__ import annotations

from dataclasses import dataclass

from evoprune.records.history import Line


@dataclass(frozen=True)
class Candidate:
    """An individual of the search. Its fields are those of its line, see :mod:`evoprune.records.history`."""

    number: int
    generation: int
    parents: tuple[int, ...]
    genome: tuple[float, ...]
    memo: bool = False
    fidelity: float = 1.0
    probe: bool = False

    @property
    def label(self) -> str:
        """Its name in messages."""
        return str(self.number)

    @property
    def may_win(self) -> bool:
        """Whether it can become the result: scored on all the data, and no probe."""
        return self.fidelity == 1 and not self.probe

    @property
    def line(self) -> Line:
        """The part of its line that is known before it is scored."""
        line: Line = {"candidate": self.number, "generation": self.generation, "parents": list(self.parents)}
        line |= {"genome": list(self.genome), "memo": self.memo}
        if self.fidelity < 1:
            line["fidelity"] = self.fidelity
        if self.probe:
            line["probe"] = True
        return line


@dataclass(frozen=True)
class Reference:
    """A known solution, scored beside the search on all the data."""

    label: str
    genome: tuple[float, ...]
    fidelity: float = 1.0

    @property
    def line(self) -> Line:
        """The part of its line that is known before it is scored."""
        return {"reference": self.label, "genome": list(self.genome)}


@dataclass(frozen=True)
class Finalist:
    """A candidate that is judged once more, by its number, or a known solution, by its name."""

    name: int | str
    genome: tuple[float, ...]
    fidelity: float = 1.0

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"finalist {self.name}"

    @property
    def row(self) -> str:
        """Its name in the result."""
        return self.name if isinstance(self.name, str) else f"candidate {self.name}"

    @property
    def line(self) -> Line:
        """The part of its line that is known before it is judged."""
        return {"finalist": self.name, "genome": list(self.genome)}

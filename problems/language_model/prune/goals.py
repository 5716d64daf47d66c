"""Goals of the command ``prune``: how each is reached on a model. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.sources import ONE_WIDTH
from evoprune.problems.language_model.prune.subject import Subject
from evoprune.problems.language_model.prune.template import Json, content, filled
from evoprune.problems.language_model.results.summary import megabytes

RULES: Mapping[str, Json] = content("goals")
"""The rules of each goal by name; see ``templates/goals.yaml``."""

SIZES = ("size", "bits", "fits")
"""The goals of a size, which types reach alone unless it is near their least one."""

FAST = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_NL")  # types that llama.cpp multiplies fast
SURE = 1.05  # margin of an estimated size

_NEAR = 1.08  # times the least bytes of types, below which cuts and types lose less (docs/measurements/joint.md)
_SOME = 0.1  # share of the parameters that is removed even near the border
_DROPPED = 0.4  # share of the parameters beyond which whole attentions and MLPs of a file may go
_CONTEXT = 4096  # tokens, by default
_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands


@dataclass(frozen=True)
class Goal:
    """The goal of the option ``--name``. ``text``: as it was given. ``other_bytes``: memory that the file does not get.

    ``value``: in the first unit of its rules; bytes of a recipe, or tokens of a vocabulary, once they are known.
    """

    name: str
    value: float = 1.0
    text: str = ""
    other_bytes: float = 0.0

    @classmethod
    def read(cls, name: str, text: str) -> Self:
        """Return the goal with the value in ``text``: a number and a unit. Raises :class:`evoprune.InputError`."""
        rules, asked = RULES[name], text.strip().lower()
        if "units" not in rules:
            return cls(name, text=text)
        if asked in rules.get("places", ()):
            return cls(name, _free_memory(rules["places"][asked]), text)
        parts = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z%]*)", asked)
        value = round(float(parts[1]) * rules["units"].get(parts[2], 0.0), 9) if parts else 0.0
        if not rules["between"][0] < value < rules["between"][1]:
            raise InputError(f"expected {rules['expects']}, got '{text}'", f"--{name}")
        return cls(name, value, text)

    @property
    def option(self) -> str:
        return f"--{self.name}"

    @property
    def label(self) -> str:
        """A part of a file's name, such as ``75MB`` or ``remove-25``."""
        value = "" if self.name == "recipe" else re.sub(r"[\s%]", "", self.text)
        return value if self.name == "size" else f"{self.name}-{value}".rstrip("-")

    @property
    def rules(self) -> Json:
        return RULES[self.name]

    def within_memory(self, file: str, context: int | None, kv: str) -> tuple[Self, int, str]:
        """Return the goal for the file alone, the context, and a remark on the memory that it takes.

        ``file``: of the model, in any types. Raises InputError if it is no .gguf file, or cannot read such a context.
        """
        if not file.endswith(".gguf"):
            raise InputError("needs a .gguf file of the model: give one as MODEL, or any with --base", self.option)
        positions = read_gguf(Path(file)).value(".context_length")
        context = context or min(_CONTEXT, positions)
        if context > positions:
            raise InputError(f"this model was trained for {positions:,} tokens, got {context:,}", "--context")
        from evoprune.problems.language_model.gguf.runtime import memory

        parts = memory(Path(file), context, kv)
        other_bytes = parts["cache"] + parts["buffers"] + parts["process"]
        remark = (
            f"a context of {context:,} tokens takes {megabytes(other_bytes)} of {megabytes(self.value)} in llama.cpp, "
            f"{megabytes(parts['cache'])} of them for keys and values in {kv}: the rest is for the file"
        )
        return replace(self, value=self.value - other_bytes, other_bytes=other_bytes), context, remark

    def removed(self, subject: Subject) -> float:
        """Return about the share of the blocks' parameters that is cut out; 0 where types or zeros do it alone."""
        if self.name == "remove":
            return self.value
        if self.name == "speedup":  # where blocks have to be alike, cuts lose much more than types
            return 0.0 if subject.alike and subject.shrinking >= SURE * self.value else 1 - 1 / self.value
        if self.name not in SIZES:
            return 0.0
        if not subject.one_file:  # whose weights are in 16 bits
            return min(1.0, max(_SOME, (subject.parameters - self.value / 2) / subject.block_parameters))
        if not (subject.width or subject.experts) or self.bits(subject) >= _NEAR * subject.least_bits:
            return 0.0
        return max(_SOME, 1 - self.bits(subject) / subject.least_bits)

    def bits(self, subject: Subject) -> float:
        """About the bits of a weight in the wanted file."""
        return self.value if self.name == "bits" else 8 * self.value / subject.weights

    def chooses_types(self, subject: Subject) -> bool:
        """Return whether the types of a file are chosen by its size."""
        return self.name in SIZES and subject.one_file

    def types(self, subject: Subject, times: Mapping[str, float]) -> Sequence[str]:
        """Return the types to choose from, in addition to the source's. ``times``: of :meth:`.Subject.types_within`."""
        if self.chooses_types(subject):
            return subject.types_within(max(self.bits(subject), subject.least_bits), times)
        if self.name == "speedup" and subject.quantised:
            return [kind for kind in FAST if kind in subject.fitting]
        return []

    def template(self, subject: Subject) -> str:
        """Return the name of the template. Raises InputError for a model that has none."""
        name: str = "cuts" if self.removed(subject) else self.rules["template"]
        if subject.experts and name == self.rules.get("dense"):
            raise InputError("is not for mixtures of experts: give --size or --remove", self.option)
        if name == "cuts" and not (subject.width or subject.experts):
            raise InputError(
                "this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune"
            )
        return name

    def experiment(self, subject: Subject, types: Sequence[str], others: Mapping[str, Any]) -> Json:
        """Fill the template with ``types`` to choose from, and with ``others``, slots that no goal decides."""
        removed, quantised = self.removed(subject), subject.quantised
        block = max(map(ggml.block_size, {*quantised, *types}), default=_LEAST_STEP)
        slots = {
            **vars(subject),
            "recipe": self.text if self.name == "recipe" else None,
            "value": self.value,
            "bytes": int(self.value),
            "types": [*types],
            "typed": bool(types or quantised),
            "from_source": bool(quantised) or None,
            "alike": subject.alike,
            "heads": bool(subject.width) and subject.heads and not subject.alike,
            "blocks_go": bool(subject.width) and subject.form == ONE_WIDTH,
            "drop": False if subject.alike or (subject.one_file and removed < _DROPPED) else None,
            "step": subject.width and channel_step(subject.width, block),
            "changed": removed * subject.weight_size if subject.roomy else None,
        }
        return filled(self.template(subject), self.rules["limit"], {**slots, **others})


def channel_step(width: int, block: int = _LEAST_STEP) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it.

    A multiple of ``block`` or else of 32, if some is.
    """
    sizes = (size for size in range(_LEAST_STEP, width + 1) if width % size == 0)
    return min(sizes, key=lambda size: (size % block > 0, size % _LEAST_STEP > 0, abs(size - width / _WIDTHS)))


def _free_memory(place: str) -> float:
    """Return the free bytes on the device ``place``; ``auto`` must be a GPU."""
    from evoprune.problems.language_model.models.device import free_memory, pick_device

    device = pick_device(place)
    if place == "auto" and device.type == "cpu":
        raise InputError("there is no GPU here; expected a size, such as 8GB", "--fits")
    return free_memory(device)

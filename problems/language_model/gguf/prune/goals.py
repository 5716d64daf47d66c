"""Goals of the command ``prune`` for .gguf files alone. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evoprune import InputError
from evoprune.problems.language_model.gguf.export.options import GgufOptions
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.recipe import TensorTypes
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.interfaces import Goal, Json, Setup
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.costs import BYTES

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.evaluation.session import Session

_CONTEXT = 4096  # tokens, by default
_PLACES = {"ram": "cpu", "vram": "auto"}  # devices by the words for all that is free there


class Bits(Size):
    """A weight has at most so many bits."""

    name = "bits"
    help = "so many bits a weight of a .gguf file, as in 4.5: types of matrices, for --out FILE.gguf"
    expects = "bits for each weight, between 1 and 16, such as 4.5"
    units, between = {"": 1}, (1, 16)
    output = "gguf"

    def file_bytes(self, weights: int) -> float:
        return self.value * weights / 8

    def shown(self, size: float, weights: int) -> str:
        return f"{8 * size / weights:.2f} bits a weight"

    def reached_by(self, size: float, weights: int) -> str:
        return f"{math.ceil(80 * size / weights) / 10:g}"

    def limit(self, setup: Setup) -> Json:  # noqa: ARG002
        return {"use": "bits_per_weight", "at_most": self.value}


@dataclass(frozen=True)
class Fits(Size):
    """llama.cpp takes no more memory. ``value``: of the file alone, once the ``other_bytes`` are known."""

    other_bytes: float = 0.0

    name = "fits"
    help = (
        "make llama.cpp take no more memory, with --context tokens, as in 8GB; ram or vram: no more than is free here"
    )
    output = "gguf"

    @classmethod
    def read(cls, text: str) -> Self:
        place = _PLACES.get(text.strip().lower())
        return cls(_free_memory(place), text) if place else super().read(text)

    def shown(self, size: float, weights: int) -> str:
        return super().shown(size + self.other_bytes, weights)

    def prepared(self, output: Any) -> Self:
        asked = output.asked
        kv = asked.kv or GgufOptions().kv
        goal, context, remark = self.within_memory(asked.base or output.model, asked.context, kv)
        output.export |= {"context": context, "kv": kv, "fits": int(self.value)}
        output.remarks.append(remark)
        return goal

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


class Recipe(Goal):
    """Each tensor has the type that a file ``text`` gives it. ``value``: bytes of the types, once they are known."""

    name = "recipe"
    help = "the types that a file gives each tensor, as for llama-quantize --tensor-type-file, for --out FILE.gguf"
    output = "gguf"
    keeps_tokens = True

    @property
    def label(self) -> str:
        return self.name

    def prepared(self, output: Any) -> Self:
        TensorTypes(Path(self.text))
        output.recipe = self.text
        return self

    def calibrated(self, session: Callable[[], Session]) -> Self:
        sizes = session().transform.costs.budget(BYTES, None)
        return replace(self, value=sizes.spent(sizes.extreme(most=False)))

    def experiment(self, setup: Setup) -> Json:
        return setup.output.experiment(setup, {"use": "bytes", "at_most": int(self.value)})


def _free_memory(place: str) -> float:
    """Return the free bytes on the device ``place``; ``auto`` must be a GPU."""
    from evoprune.problems.language_model.models.device import free_memory, pick_device

    device = pick_device(place)
    if place == "auto" and device.type == "cpu":
        raise InputError("there is no GPU here; expected a size, such as 8GB", "--fits")
    return free_memory(device)

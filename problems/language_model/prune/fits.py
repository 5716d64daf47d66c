"""The goal ``--fits``: a file that llama.cpp runs in so much memory. Imports torch when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from evoprune import InputError
from evoprune.problems.language_model.export import KvType
from evoprune.problems.language_model.models.weight_files import read_gguf
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.results.summary import megabytes

CONTEXT = 4096  # tokens, by default
KINDS_OF_CACHE = get_args(KvType)  # types of keys and values, the default first


class Fits(Size):
    """The size of a file that leaves room for the cache and the buffers of a context."""

    option, metavar = "--fits", "MEMORY"
    help = (
        "make llama.cpp take no more memory, with --context tokens, as in 8GB; ram or vram: no more than is free here"
    )

    @classmethod
    def read(cls, text: str) -> float:
        place = {"ram": "cpu", "vram": "auto"}.get(text.strip().lower())
        if place is None:
            return super().read(text)
        from evoprune.problems.language_model.models.device import free_memory, pick_device

        device = pick_device(place)
        if place == "auto" and device.type == "cpu":
            raise InputError("there is no GPU here; expected a size, such as 8GB", cls.option)
        return free_memory(device)

    def beside_context(self, model: str, base: str | None, context: int, kv: str) -> tuple[Fits, str]:
        """Return the goal for the file alone, and a remark on the memory that the ``context`` takes.

        Raises :class:`evoprune.InputError` without a .gguf file of the model, or for a context that it cannot read.
        """
        file = base or model
        if not file.endswith(".gguf"):
            raise InputError("needs a .gguf file of the model: give one as MODEL, or any with --base", self.option)
        if context > (positions := read_gguf(Path(file)).value(".context_length")):
            raise InputError(f"this model was trained for {positions:,} tokens, got {context:,}", "--context")
        from evoprune.problems.language_model.gguf.runtime import memory

        parts = memory(Path(file), context, kv)
        beside = parts["cache"] + parts["buffers"] + parts["process"]
        goal = type(self)(self.value - beside)
        goal.beside, goal.options = beside, ("--context", str(context), "--kv", kv)
        return goal, (
            f"a context of {context:,} tokens takes {megabytes(beside)} of {megabytes(self.value)} in llama.cpp, "
            f"{megabytes(parts['cache'])} of them for keys and values in {kv}: the rest is for the file"
        )

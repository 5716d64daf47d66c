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

_HERE = ("ram", "vram")


class Fits(Size):
    """The size of a file that leaves room for the cache and the buffers of a context."""

    option, example, metavar = "--fits", "8GB", "MEMORY"
    help = (
        "make llama.cpp take no more memory, with --context tokens, as in 8GB; ram or vram: no more than is free here"
    )

    @classmethod
    def read(cls, text: str) -> float:
        if (where := text.strip().lower()) not in _HERE:
            return super().read(text)
        from evoprune.problems.language_model.models.device import free_memory, pick_device

        device = pick_device("cpu" if where == "ram" else "auto")
        if where == "vram" and device.type == "cpu":
            raise InputError("there is no GPU here; expected a size, such as 8GB", cls.option)
        return free_memory(device)

    def beside_context(self, model: str, base: str | None, context: int, kv: str) -> tuple[Fits, str]:
        """Return the goal for the file alone, and a remark on the memory that the ``context`` takes.

        Raises :class:`evoprune.InputError` where no size is left, or none is to be saved.
        """
        file = base or model
        if not file.endswith(".gguf"):
            raise InputError("needs a .gguf file of the model: give one as MODEL, or any with --base", self.option)
        if context > (positions := read_gguf(Path(file)).value(".context_length")):
            raise InputError(f"this model was trained for {positions:,} tokens, got {context:,}", "--context")
        from evoprune.problems.language_model.gguf.runtime import memory

        found = memory(Path(file), context, kv)
        taken = found["cache"] + found["buffers"] + found["process"]
        told = f"a context of {context:,} tokens takes {megabytes(taken)}"
        if taken >= self.value:
            raise InputError(f"{told} without any weights; give more memory or a shorter --context", self.option)
        if file == model and found["weights"] + taken <= self.value:
            raise InputError(f"is met already: {model} takes {megabytes(found['weights'] + taken)}", self.option)
        left = self.value - taken
        cache, buffers = megabytes(found["cache"]), megabytes(found["buffers"])
        return type(self)(left), (
            f"{told} in llama.cpp, {cache} of it keys and values in {kv}, {buffers} buffers: {megabytes(left)} of "
            f"{megabytes(self.value)} are left for the file"
        )

"""The smallest sizes that a model can have, told by headers of files. Imports no torch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection, Mapping

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import (
    Stored,
    bytes_of,
    read_gguf,
    stored_tensors,
    weight_files,
)
from evoprune.problems.language_model.prune.goals import FAST, Bits, Size
from evoprune.problems.language_model.results.summary import megabytes

_TOKENS = 0.5  # share of the tokens that go before heads and channels do
_SURE = 1.05  # times the least bytes of types that a suggested goal asks for, before it is rounded
_HALF = 16.0  # bits of a weight where no type fits
_IN_BLOCK = re.compile(r"\.\d+\.")


def least_bytes(settings: ModelSettings, tokens: int = 0) -> float:
    """Return about the bytes of the smallest .gguf file of all weights of a model; 0 if it has no files here.

    ``tokens``: rows of embedding and head, if tokens may be left out: half is little harm.
    """
    if not (stored := _stored(settings)):
        return 0.0
    is_gguf = settings.model.endswith(".gguf")
    rows = sum(each.size for each in stored.values() if each.shape[:1] == (tokens,))
    least = sum(4.0 * each.size for each in stored.values() if len(each.shape) == 1)
    least += sum(_smallest(each, is_gguf) for each in _matrices(stored, is_gguf).values())
    for path in weight_files(settings) if is_gguf else ():
        least += path.stat().st_size - sum(each.data.nbytes for each in read_gguf(path).tensors.values())
    return least * (1 - _TOKENS * rows / sum(each.size for each in stored.values()))


def refuse_size(goal: Size, settings: ModelSettings, one_file: bool) -> None:
    """Raise InputError if a model with files here is that small, or nothing makes it so small."""
    if not (stored := _stored(settings)):
        return
    bits, is_gguf = 8 / sum(each.size for each in stored.values()), settings.model.endswith(".gguf")
    in_bits = isinstance(goal, Bits)

    def shown(size: float) -> str:
        return f"{size * bits:.2f} bits a weight" if in_bits else megabytes(size + goal.beside)

    whole, limit = bytes_of(weight_files(settings)), goal.value / bits if in_bits else goal.value
    if whole <= limit:
        raise InputError(f"is met already: {settings.model} has {shown(whole)}", goal.option)
    others = [each for name, each in _matrices(stored, is_gguf).items() if not _IN_BLOCK.search(name)]
    if sum(_smallest(each, is_gguf) if one_file else 2.0 * each.size for each in others) <= limit:
        return
    if lacking := ggml.missing():
        raise InputError(f"is out of reach in 16 bits. {lacking}", goal.option)
    least = _SURE * least_bytes(settings)
    value = f"{math.ceil(10 * least * bits) / 10:g}" if in_bits else option_value(least + goal.beside)
    way = command(settings.model, goal.option, value, *goal.options)
    raise InputError(f"is out of reach; about {shown(least)} is not: {way}", goal.option)


def command(model: str, *options: str) -> str:
    """Return the command line that makes a .gguf file of ``model``."""
    return shlex.join(["python", "-m", "evoprune", "prune", model, *options, "--out", "smaller.gguf"])


def option_value(size: float) -> str:
    """Return ``size``, in bytes, as an option takes it."""
    return megabytes(size).replace(",", "").replace(" ", "")


def shrinking(settings: ModelSettings) -> float:
    """Return how many times as many bits a .gguf file has as with its matrices in the smallest of :data:`FAST`."""
    matrices = _matrices(_stored(settings), True).values() if settings.model.endswith(".gguf") else ()
    own = [_smallest(each, True, {*ggml.COMMON} & {each.kind}) for each in matrices]
    fast = [min(size, _smallest(each, True, FAST)) for each, size in zip(matrices, own, strict=True)]
    return sum(own) / sum(fast) if own else 1.0


def _stored(settings: ModelSettings) -> dict[str, Stored]:
    return {name: each for path in weight_files(settings) for name, each in stored_tensors(path).items()}


def _matrices(stored: Mapping[str, Stored], is_gguf: bool) -> dict[str, Stored]:
    """The matrices, but for a head in a folder, which may be the embedding."""
    heads = () if is_gguf else ("lm_head.", "embed_out.")
    return {name: each for name, each in stored.items() if len(each.shape) > 1 and not name.startswith(heads)}


def _smallest(matrix: Stored, is_gguf: bool, kinds: Collection[str] = ggml.COMMON) -> float:
    """The bytes of a matrix in the smallest of ``kinds``; in folders GPT-2's rows are columns."""
    widths = matrix.shape[-1:] if is_gguf else matrix.shape
    fitting = (ggml.bits(kind) for kind in kinds if any(ggml.fits(kind, width) for width in widths))
    return matrix.size / 8 * min(fitting, default=_HALF)

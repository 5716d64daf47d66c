"""What a .gguf file says of a model beside its weights: metadata and tokenizer, which exports take from a base file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFValue, GGUFValueType
from numpy.typing import NDArray

from evoprune import InputError

Fields = Mapping[str, Any]
"""Metadata by key: each value a ``GGUFValue`` with its type."""

TOKENS = "tokenizer.ggml.tokens"

_OF_THE_FILE = ("GGUF.", "general.architecture", "general.alignment", "quantize.", "split.")
"""Beginnings of keys that are true of the base file alone, or are written anew."""

_KEPT = "rope_"
"""Beginning of the names of tensors that are no parameters in transformers: factors of rotary frequencies."""

_OTHER_TOKENS = 0.01
"""The share of a vocabulary that may be spelt differently: converters rewrite some added tokens."""


@dataclass(frozen=True)
class Base:
    """The metadata of a model, but for what follows from its tensors.

    ``architecture``: llama.cpp's name. ``half``: ``F16`` or ``BF16``, in which matrices are written that are not
    quantised. ``shapes``: those of the file's tensors, rows first; empty where there is no file. ``kept``: tensors that
    are written as they are. ``path``: the file.
    """

    architecture: str
    fields: Fields
    half: str = "F16"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    path: Path | None = None

    def refuse_another(self, shapes: Mapping[str, tuple[int, ...]], vocabulary: Mapping[str, int]) -> None:
        """Raise :class:`evoprune.InputError` unless the file is one of the model with these tensors and tokens."""
        if self.path is None:
            return
        tokens: Sequence[str] = self.fields[TOKENS].value
        other = sum(number >= len(tokens) or tokens[number] != token for token, number in vocabulary.items())
        if other > _OTHER_TOKENS * len(vocabulary):
            raise self._another(f"{other:,} of the model's {len(vocabulary):,} tokens are others there")
        for name in sorted(shapes.keys() | (self.shapes.keys() - self.kept.keys())):
            ours, theirs = (" x ".join(map(str, known.get(name, ()))) for known in (shapes, self.shapes))
            if ours != theirs:
                raise self._another(f"{name} is {theirs or 'missing'} there, and {ours or 'missing'} in the model")

    def _another(self, reason: str) -> InputError:
        return InputError(f"is the file of another model: {reason}; give one of the same model", str(self.path))


def read_base(path: Path) -> Base:
    """What the .gguf file ``path`` says. Raises :class:`evoprune.InputError` if it cannot be read, or is truncated."""
    try:
        reader = GGUFReader(path)
        known = {name: _value(found) for name, found in reader.fields.items()}
        architecture = known["general.architecture"].value
        shapes = {tensor.name: tuple(map(int, reversed(tensor.shape))) for tensor in reader.tensors}
        kept = {t.name: t.data.copy() for t in reader.tensors if t.name.startswith(_KEPT)}
        kinds = {tensor.tensor_type.name for tensor in reader.tensors}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except Exception:  # the reader trusts what it reads, and fails in many ways
        raise InputError("is no .gguf file, or a truncated one: give a whole one", str(path)) from None
    if TOKENS not in known:
        raise InputError("holds no tokenizer: give a .gguf file of a whole model", str(path))
    fields = {name: value for name, value in known.items() if not name.startswith(_OF_THE_FILE) and value.value != []}
    return Base(architecture, fields, "BF16" if "BF16" in kinds else "F16", shapes, kept, path)


def whole_number(value: int) -> Any:
    """A whole number, at least 0, as metadata."""
    return GGUFValue(int(value), GGUFValueType.UINT32)


def _value(found: Any) -> Any:
    array = found.types[0] == GGUFValueType.ARRAY
    return GGUFValue(found.contents(), found.types[0], found.types[-1] if array else None)

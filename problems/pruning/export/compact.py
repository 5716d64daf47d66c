"""A compact copy of a pruned model: a bit for each weight, and the weights that are not zero.

Zeros that follow no pattern save nothing in a dense file, in memory, or in time; this
copy saves bytes on disk and on the wire alone, and is unpacked when it is read. It is one safetensors
file. A packed tensor ``name`` lies there as ``name.bits`` (uint8, eight weights a byte, the
first in the highest bit, 1 where there is a weight) and ``name.values`` (the non-zero
weights in order); its shape is in the file's metadata. All other tensors lie there as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path

import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evoprune import InputError

FILE = "compact.safetensors"
FORMAT = "evoprune-compact-1"
Tensors = dict[str, torch.Tensor]


def save_compact(tensors: Tensors, packed: Collection[str], path: Path) -> None:
    """Write ``tensors`` to ``path``, those named in ``packed`` as bits and values."""
    stored: Tensors = {}
    for name, tensor in tensors.items():
        if name not in packed:
            stored[name] = tensor.contiguous()
            continue
        flat = tensor.flatten()
        kept = flat != 0
        stored[f"{name}.bits"] = torch.from_numpy(numpy.packbits(kept.numpy()))
        stored[f"{name}.values"] = flat[kept]
    shapes = {name: list(tensors[name].shape) for name in tensors if name in packed}
    save_file(stored, path, metadata={"format": FORMAT, "shapes": json.dumps(shapes)})


def load_compact(path: str | Path) -> Tensors:
    """The state dict in ``path``, as ``load_state_dict`` takes it (tied weights are stored once).

    Raises :class:`evoprune.InputError` if the file is not one that :func:`save_compact` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = _shapes(file.metadata() or {}, path)
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read as safetensors: {error}", str(path)) from None
    tensors: Tensors = {}
    for name, shape in shapes.items():
        bits, values = stored.pop(f"{name}.bits", None), stored.pop(f"{name}.values", None)
        if bits is None or values is None:
            raise InputError(f"'{name}' lacks its bits or its values", str(path))
        tensors[name] = _unpacked(name, bits, values, shape, path)
    return tensors | stored


def _shapes(metadata: dict[str, str], path: str | Path) -> dict[str, list[int]]:
    if metadata.get("format") != FORMAT:
        raise InputError(f"is no compact copy: expected the format {FORMAT} in its metadata", str(path))
    try:
        shapes = json.loads(metadata["shapes"])
        sound = all(isinstance(n, int) and n >= 0 for shape in shapes.values() for n in shape)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise InputError("its metadata states no shapes", str(path))
    return shapes  # type: ignore[no-any-return]


def _unpacked(name: str, bits: torch.Tensor, values: torch.Tensor, shape: list[int], path: str | Path) -> torch.Tensor:
    size = math.prod(shape)
    if bits.dtype != torch.uint8 or bits.shape != (-(-size // 8),):
        raise InputError(f"'{name}' has not one bit for each of {size} weights", str(path))
    kept = torch.from_numpy(numpy.unpackbits(bits.numpy(), count=size)).bool()
    if values.shape != (int(kept.sum()),):
        raise InputError(f"'{name}' has {values.numel()} values for {int(kept.sum())} places", str(path))
    return torch.zeros(size, dtype=values.dtype).masked_scatter_(kept, values).view(shape)

"""What lies on this machine of a model's source: its files of weights, and in which number format they are."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from problems.models.load import BUNDLED_WEIGHTS
from problems.models.settings import BUNDLED_MODEL, ModelSettings

_FORMATS = {"F64": "float32", "F32": "float32", "BF16": "bfloat16"}
"""All others have 16 bits at most, and float16 holds them better than bfloat16, which has fewer digits."""


def weight_files(settings: ModelSettings) -> list[Path]:
    """The .safetensors files, or the .gguf file, of a model that was loaded; none where they are not found."""
    if settings.model.endswith(".gguf"):
        return [Path(settings.model)]
    folder = BUNDLED_WEIGHTS if settings.model == BUNDLED_MODEL else Path(settings.model)
    if not folder.is_dir():
        found = try_to_load_from_cache(settings.model, "config.json", revision=settings.revision)
        if not isinstance(found, str):
            return []
        folder = Path(found).parent
    whole, index = (
        folder / SAFE_WEIGHTS_NAME,
        folder / SAFE_WEIGHTS_INDEX_NAME,
    )  # others may hold the same weights again
    if not whole.is_file() and index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted(folder / name for name in set(named))
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def stored_dtype(settings: ModelSettings) -> str | None:
    """The dtype, as in the settings, in which most weights of the source are stored; None where it is not found.

    Weights that were quantised count as float16.
    """
    sizes: Counter[str] = Counter()
    for path in weight_files(settings):
        for kind, size in _gguf(path) if path.suffix == ".gguf" else _safetensors(path):
            sizes[_FORMATS.get(kind, "float16")] += size
    return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else None


def _safetensors(path: Path) -> list[tuple[str, int]]:
    """The format and the size of each tensor."""
    with safe_open(path, "pt") as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - it is no mapping
    return [(each.get_dtype(), prod(each.get_shape())) for each in slices]


def _gguf(path: Path) -> list[tuple[str, int]]:
    from gguf import GGUFReader  # an extra, which a model from a .gguf file was loaded with

    return [(tensor.tensor_type.name, int(tensor.n_elements)) for tensor in GGUFReader(path).tensors]

"""Files of weights, and their headers. Imports no torch."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from evoprune import InputError
from evoprune.plugins import read_json
from evoprune.problems.language_model.models.model_file import Stored, model_file
from evoprune.problems.language_model.models.settings import (
    BUNDLED_MIXTURE,
    BUNDLED_MODEL,
    ModelSettings,
    is_model_file,
    size_fault,
)

_FOLDER = Path(__file__).resolve().parent.parent / "bundled"
BUNDLED_WEIGHTS = _FOLDER / "weights"
BUNDLED = {BUNDLED_MODEL: BUNDLED_WEIGHTS, BUNDLED_MIXTURE: _FOLDER / "mixture"}

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_DTYPES = {"F64": "float32", "F32": "float32", "BF16": "bfloat16"}  # all others have at most 16 bits


def weight_files(settings: ModelSettings) -> list[Path]:
    """Return the .safetensors files, or the one file, of a model; none if it is not on this machine."""
    if is_model_file(settings.model):
        return [Path(settings.model)]
    folder = BUNDLED.get(settings.model) or Path(settings.model)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache  # slow to import

        try:
            config = try_to_load_from_cache(settings.model, "config.json", revision=settings.revision)
        except ValueError:  # no name on the hub
            return []
        if not isinstance(config, str):
            return []
        folder = Path(config).parent
    whole, index = folder / _WHOLE, folder / _INDEX
    if whole.is_file():  # other files may hold the same weights again
        return [whole]
    if index.is_file():
        names = read_json(index).get("weight_map")
        if not isinstance(names, dict):
            raise InputError("expected weight_map, the file of each weight", str(index))
        return sorted(folder / name for name in set(names.values()))
    return sorted(folder.glob("*.safetensors"))


def bytes_of(files: Iterable[Path]) -> int:
    """Return the total size of ``files``."""
    return sum(path.stat().st_size for path in files)


def stored_tensors(path: Path) -> Mapping[str, Stored]:
    """Return the tensors in the header of ``path``. Raises InputError for an incomplete file."""
    if model := model_file(str(path)):
        return model.tensors
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length) if length < path.stat().st_size else b"")
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        places = {name: entry["data_offsets"] for name, entry in entries.items()}
        tensors = {
            name: Stored(entry["dtype"], tuple(entry["shape"]), places[name][1] - places[name][0])
            for name, entry in entries.items()
        }
        needed = 8 + length + max((end for _, end in places.values()), default=0)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
        raise InputError("is no .safetensors file, or the beginning of one: copy it again", str(path)) from None
    if fault := size_fault(path.stat().st_size, needed):
        raise InputError(fault, str(path))
    return tensors


def stored_dtype(settings: ModelSettings) -> str | None:
    """Return the dtype of most weights in the model's files, float16 for quantised ones; None if there are no files."""
    sizes: Counter[str] = Counter()
    for path in weight_files(settings):
        for tensor in stored_tensors(path).values():
            sizes[_DTYPES.get(tensor.kind, "float16")] += tensor.size
    return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else None

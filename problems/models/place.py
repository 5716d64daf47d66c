"""Says what is wrong with the place of a model, before libraries are asked, which would ask the hub, or say little."""

from __future__ import annotations

import os
from pathlib import Path

_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "merges.txt")

STRUCTURE = "structure.json"
"""In a folder whose blocks differ: how its model was made."""

_RUNS = "runs"
"""The folder that commands make runs in."""


def is_path(name: str) -> bool:
    """Whether ``name`` is meant as a path, even if nothing is there, and not as ``OWNER/NAME`` of the hub."""
    path = Path(name)
    written_so = name.startswith((".", "~")) or name.endswith(os.sep) or path.suffix == ".gguf"
    return path.is_absolute() or written_so or len(path.parts) > 2 or path.parts[0] == _RUNS


def lacking(folder: Path) -> str | None:
    """What ``folder`` lacks to be a model's, and what to do about it; None if it has all."""
    if not (folder / "config.json").is_file():
        if (folder / "config.yaml").is_file():
            return "is the folder of a run; write its model first: python -m evoprune export"
        files = sorted(path.name for path in folder.glob("*.gguf"))
        inside = f": give the file, {folder / files[0]}" if files else ""
        return f"holds no config.json; expected a folder that save_pretrained wrote, or a .gguf file{inside}"
    if (folder / STRUCTURE).is_file():
        return "is an export whose blocks differ, which is not cut again; give the model that it was made of"
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        why = ": they are pickled, which may run code; load and save it once with transformers" if pickled else ""
        return f"holds no weights (*.safetensors){why}"
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZERS):
        return "holds no tokenizer (such as tokenizer.json); copy these files from the model that it was made of"
    return None


def model_fault(model: str) -> str | None:
    """Why there is no model at the path ``model``; None if there may be one, or it is a name on the hub."""
    path = Path(model)
    if path.is_dir():
        return f"{path} {lack}" if (lack := lacking(path)) else None
    if path.suffix == ".gguf":
        return None if path.is_file() else f"{path}: no such file"
    if is_path(model):
        return f"{path}: no such folder; expected one that save_pretrained wrote, or a .gguf file"
    return None

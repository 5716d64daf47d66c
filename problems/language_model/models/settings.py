"""Settings of a model (source, device and number format) and faults of the source. Imports no torch."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evoprune import Settings
from evoprune.plugins import plugin_names
from evoprune.problems.language_model.models.wings import WINGS

BUNDLED_MODEL, BUNDLED_MIXTURE = "bundled:gpt2-mini", "bundled:moe-mini"
MODEL_FILES = "evoprune.model_files"  # the group of entry points, by suffix, see .model_file
STRUCTURE = "structure.json"  # in an export whose blocks differ: the transforms and the genome
_RUNS = "runs"  # the default folder of runs
_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "merges.txt")


def _absolute_if_local(source: str) -> str:
    """Make an existing path absolute, so that a stored experiment works from any folder."""
    try:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source
    except (OSError, RuntimeError) as error:  # the name is too long, or its home folder is unknown
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


Source = Annotated[str, Field(min_length=1), AfterValidator(_absolute_if_local)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|(cuda|xpu|mps)(:\d+)?)$")]
Dtype = Literal["float32", "bfloat16", "float16"]


def or_file(words: str = ", or a .{} file") -> str:
    """Return ``words`` for each suffix of a file that can be given in place of a folder."""
    return "".join(words.format(suffix) for suffix in plugin_names(MODEL_FILES))


class ModelSettings(Settings):
    """The model, its device and its number format."""

    model: Source = Field(
        BUNDLED_MODEL, description=f"hub id, local folder{or_file(', .{} file')}, bundled:gpt2-mini or bundled:moe-mini"
    )
    revision: str | None = Field(None, description="branch, tag or commit of a model on the hub")
    trust_remote_code: bool = Field(False, description="run model code from the hub")
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N, xpu, xpu:N or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format; auto is bfloat16 if the device is fast at it, else float32"
    )
    memory: Literal["auto", "resident", "stream"] = Field(
        "auto",
        description="a candidate's weights: resident all at once, or stream, each as its layer runs; auto: as fits",
    )


def short_name(source: str) -> str:
    """Return the last part of ``source``, a path or hub id, or the name of a bundled model or text."""
    return Path(source).name.removeprefix("bundled:")


def is_model_file(model: str) -> bool:
    """Tell whether ``model`` is a file of a registered format, by its suffix."""
    return Path(model).suffix[1:] in plugin_names(MODEL_FILES)


def is_path(name: str) -> bool:
    """Tell whether ``name`` is written as a path, existing or not, and not as ``OWNER/NAME`` of the hub."""
    path = Path(name)
    written_so = name.startswith((".", "~")) or name.endswith(os.sep) or is_model_file(name) or path.suffix in WINGS
    return path.is_absolute() or written_so or len(path.parts) > 2 or path.parts[0] == _RUNS


def _folder_fault(folder: Path) -> str | None:
    """Return the fault of a model's ``folder``, and the remedy; None if no file is missing."""
    if not (folder / "config.json").is_file():
        if (folder / "config.yaml").is_file():
            return "is the folder of a run; write its model first: python -m evoprune export"
        files = sorted(path.name for path in folder.iterdir() if is_model_file(path.name))
        inside = f": give the file, {folder / files[0]}" if files else ""
        return f"holds no config.json; expected a folder that save_pretrained wrote{or_file()}{inside}"
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
    """Return the fault of the path ``model``; None if there is none, or it is a name on the hub."""
    if model.startswith("bundled:"):
        names = (BUNDLED_MODEL, BUNDLED_MIXTURE)
        return None if model in names else f"unknown '{model}'; the bundled models are {' and '.join(names)}"
    path = Path(model)
    if path.is_dir():
        return f"{path} {fault}" if (fault := _folder_fault(path)) else None
    if is_model_file(model):
        return None if path.is_file() else f"{path}: no such file"
    if path.suffix in WINGS:
        return f"{path}: needs the wing {WINGS[path.suffix]}"
    if is_path(model):
        why = "is a file" if path.exists() else "no such folder"
        return f"{path}: {why}; expected a folder that save_pretrained wrote{or_file()}"
    return None


def size_fault(size: int, needed: int) -> str | None:
    """Return the fault of a file of ``size`` bytes whose header announces ``needed``; None if it is complete."""
    if size >= needed:
        return None
    have, whole = (f"{count / 1e6:,.0f}" if needed >= 1e7 else f"{count / 1e6:,.3f}" for count in (size, needed))
    return f"the file is incomplete: {have} of {whole} MB; copy or download it again"

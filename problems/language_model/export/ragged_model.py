"""Reads and writes models whose layers differ in shape, which transformers cannot load.

``structure.json`` names the transforms and their genome. Reading builds the dense model of ``config.json``, applies the
transforms, and loads the weights from ``ragged.safetensors``, a name that ``from_pretrained`` ignores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import GENERATION_CONFIG_NAME

from evoprune import InputError
from evoprune.plugins import Choice, find_plugin, first_line, read_json, without_folders, write_json
from evoprune.problems.language_model.models.blocks import number_attentions
from evoprune.problems.language_model.models.device import dtype_of, pick_device, pick_dtype
from evoprune.problems.language_model.models.hub import quiet
from evoprune.problems.language_model.models.load import convert, load_model, load_tokenizer
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import STRUCTURE, ModelSettings
from evoprune.problems.language_model.transforms import TRANSFORMS
from evoprune.problems.language_model.transforms.stack import Stack

WEIGHTS = "ragged.safetensors"


class Structure(BaseModel, extra="forbid", frozen=True):
    """The transforms that made a model smaller, and their genome."""

    transforms: tuple[Choice, ...] = Field(min_length=1)
    genome: tuple[float, ...]
    dtype: str


def is_ragged(folder: Path) -> bool:
    """Return True if ``folder`` holds a model that :func:`load` reads."""
    return (folder / STRUCTURE).is_file()


def save(model: Any, transforms: Sequence[Choice], genome: Sequence[float], folder: Path) -> None:
    """Write ``model``, on the CPU, with the config of the dense one; ``genome``: of transforms that are replayed."""
    cuts = tuple(chosen for chosen in transforms if find_plugin(TRANSFORMS, chosen.use).replayed)
    structure = Structure(transforms=cuts, genome=tuple(genome), dtype=dtype_of(model))
    write_json(folder / STRUCTURE, without_folders(structure.model_dump(mode="json")))
    first = {tensor.data_ptr(): name for name, tensor in reversed(model.state_dict().items())}  # tied tensors once
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name in first.values()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with quiet():
        model.config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)


def load(folder: Path) -> Any:
    """Load the model that :func:`save` wrote to ``folder``, in evaluation mode on the CPU."""
    path = folder / STRUCTURE
    try:
        structure = Structure.model_validate(read_json(path))
    except ValidationError as error:
        reason = first_line(error)
        raise InputError(f"is not the description of a model that evoprune wrote: {reason}", str(path)) from None
    with quiet():
        config = AutoConfig.from_pretrained(folder)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, structure.dtype)).eval()
        if (folder / GENERATION_CONFIG_NAME).is_file():  # has the EOS tokens, for example
            model.generation_config = GenerationConfig.from_pretrained(folder)
    model.requires_grad_(False)
    resident = Resident(model, None, str(folder))
    chosen = [(find_plugin(TRANSFORMS, each.use), each.parameters) for each in structure.transforms]
    transform = Stack([kind(resident, kind.Settings.model_validate(parameters), None) for kind, parameters in chosen])
    if not transform.genes.allow(structure.genome):
        raise InputError("genome: expected a possible value for each gene", str(path))
    transform.apply(structure.genome)
    try:
        weights = load_file(folder / WEIGHTS)
        missing, unknown = model.load_state_dict(weights, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:  # the last for tensors of another shape
        raise InputError(f"cannot be read: {first_line(error)}", str(folder / WEIGHTS)) from None
    tensors = model.state_dict()
    read = {tensors[name].data_ptr() for name in weights if name in tensors}
    lacking = [name for name in missing if tensors[name].data_ptr() not in read]  # except for tied tensors
    if unknown or lacking:
        names = ", ".join([*unknown, *lacking][:4])
        raise InputError(f"does not hold the weights that {STRUCTURE} asks for: {names}", str(folder / WEIGHTS))
    number_attentions(model)
    return model


def load_any(settings: ModelSettings) -> tuple[Any, Any]:
    """Load a model and its tokenizer from any source; dtype ``auto`` is that of the files."""
    folder = Path(settings.model)
    if is_ragged(folder):
        model, device = load(folder), pick_device(settings.device)
        convert(model, device, model.dtype if settings.dtype == "auto" else pick_dtype(settings.dtype, device))
        return model, load_tokenizer(folder)
    return load_model(settings)

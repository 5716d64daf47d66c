"""A model that has no room on this machine, or that takes far too long: refused by the headers of its files."""

import math
import time
from pathlib import Path

import torch
from torch.nn.functional import linear

from evoprune import InputError
from evoprune.problems.language_model.models.device import free_memory, pick_device, pick_dtype
from evoprune.problems.language_model.models.gguf_source import fits_disk
from evoprune.problems.language_model.models.load import stored_dtype
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import stored_tensors, weight_files

_LEAST_READ = 8_000  # tokens that the shortest plan reads, about
_FAR = 2.0  # times that the products may take what is given: plans are shortened, and then take what they need
_TOKENS, _WIDTH = 64, 1024  # of the product that is timed


def model_settings(model: str, seconds: float, on: str = "auto") -> ModelSettings:
    """Return settings for ``model`` on the device ``on``: in the dtype of its files if there is no room for another.

    Raises :class:`evoprune.InputError` for a model that has no room at all, or takes far more than ``seconds``.
    """
    settings = ModelSettings(model=model, device=on)
    stored = [each for path in weight_files(settings) for each in stored_tensors(path).values()]
    weights = sum(each.size for each in stored if len(each.shape) > 1)
    device = pick_device(settings.device)
    dtype, own = pick_dtype(settings.dtype, device), stored_dtype(settings)
    is_gguf, needed, room = model.endswith(".gguf"), weights * dtype.itemsize, free_memory(device)
    if is_gguf and fits_disk(Path(model), dtype):
        needed = 0  # its weights are mapped from the cache
    if needed > room and device.type == "cpu" and own == "bfloat16" and not is_gguf:
        settings = settings.model_copy(update={"dtype": own})
        dtype, needed = torch.bfloat16, 0  # mapped from its files
    if needed > room:
        raise InputError(
            f"its {weights / 1e9:.1f} billion weights take {needed / 1e9:,.0f} GB in {dtype}, and {room / 1e9:,.1f} GB "
            f"are free; expected a smaller model, or a folder in bfloat16",
            model,
        )
    least = 2 * weights * _LEAST_READ / _products(device, dtype)
    if least > _FAR * seconds:
        raise InputError(
            f"is too short for {weights / 1e9:.1f} billion weights in {dtype} on this machine; expected --quick, or "
            f"at least about {math.ceil(least / 60)}m",
            "--time",
        )
    return settings


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the floating-point operations of a second that products reach."""
    inputs, weight = torch.ones(_TOKENS, _WIDTH), torch.ones(_WIDTH, _WIDTH)
    inputs, weight = inputs.to(device, dtype), weight.to(device, dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        float(linear(inputs, weight)[0, 0])  # waits for a GPU
        times.append(time.perf_counter() - start)
    return 2 * _TOKENS * _WIDTH**2 / min(times)

"""Looks at a model: memory and time on this machine, and the facts that goals depend on."""

import math
import time
from contextlib import suppress
from itertools import pairwise

import torch
from torch.nn.functional import linear

from evoprune import InputError
from evoprune.plugins import find_plugin
from evoprune.problems.language_model.models.blocks import in_features
from evoprune.problems.language_model.models.device import free_memory, pick_device, pick_dtype, sum_dtype
from evoprune.problems.language_model.models.memory import Placement, can_train
from evoprune.problems.language_model.models.model_file import model_file
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import stored_dtype
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import ModelFacts
from evoprune.problems.language_model.transforms import TRANSFORMS

_READ = 30_000  # tokens that could be read in the shortest run, about: it may take twice the time that is given
_TRIED, _SIDE = 64, 1024  # of the product that is timed
_TIMED = 0.3  # seconds
_ORDERING = 4.0  # products to order the channels of an MLP, by the cube of their number


def model_settings(headers: Headers, seconds: float, on: str = "auto") -> ModelSettings:
    """Return settings for the model on the device ``on``: in the dtype of the files if there is no memory for another.

    Raises :class:`evoprune.InputError` for a model that memory cannot hold, or takes far more than ``seconds``.
    """
    settings, weights, device = headers.settings.model_copy(update={"device": on}), headers.weights, pick_device(on)
    dtype, free = pick_dtype(settings.dtype, device), free_memory(device)
    file = model_file(settings.model)
    mapped = bool(file and file.fits_disk(dtype))
    needed = 0 if mapped else weights * dtype.itemsize
    if needed > free and device.type == "cpu" and not headers.is_file and stored_dtype(settings) == "bfloat16":
        settings = settings.model_copy(update={"dtype": "bfloat16"})
        dtype, needed = torch.bfloat16, 0  # mapped from its files
    if needed > free:
        raise InputError(
            f"its {weights / 1e9:.1f} billion weights take {needed / 1e9:,.0f} GB in {dtype}, and {free / 1e9:,.1f} GB "
            f"are free; expected a smaller model, or a folder in bfloat16",
            settings.model,
        )
    least = weights * _READ / _products(device, dtype)
    if least >= 2 * seconds:
        raise InputError(
            f"is too short for {weights / 1e9:.1f} billion weights in {dtype} on this machine; expected at least about "
            f"{math.ceil(least / 60)}m",
            "--time",
        )
    return settings


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the multiplications of a second that products reach: the most of many, as other work stops some."""
    inputs, weight = (torch.ones(rows, _SIDE, device=device, dtype=dtype) for rows in (_TRIED, _SIDE))
    float(linear(inputs, weight)[0, 0])  # the first one loads the libraries of a GPU
    times = [time.perf_counter()]
    while times[-1] < times[0] + _TIMED:
        float(linear(inputs, weight)[0, 0])  # waits for a GPU
        times.append(time.perf_counter())
    return _TRIED * _SIDE**2 / min(after - before for before, after in pairwise(times))


def look(resident: Resident) -> ModelFacts:
    """Return the facts about ``resident``."""
    device, matrices = resident.device, resident.all_matrices
    middle = [each for each in matrices if each.block == matrices[len(matrices) // 2].block]
    squares = sum(float(each.weight.float().square().sum()) for each in middle)
    widths = []
    with suppress(InputError, IndexError):  # experts are no layers
        widths = [in_features(each.layers[-1]) for each in resident.sublayers if each.kind == "mlp"]
    experts = _loses("experts", resident)
    return ModelFacts(
        width=None if experts else next(iter(widths), None),
        heads=_loses("heads", resident),
        parameters=resident.parameters,
        block_parameters=resident.block_parameters,
        weight_size=math.sqrt(squares / sum(each.size for each in middle)),
        experts=experts,
        roomy=can_train(resident.parameters, device),
        differentiable=device.type != "cpu"
        or Placement.of("", device, 8 * resident.prunable_weights, share=1).resident,
        ordering=_ORDERING * sum(width**3 for width in widths) / _products(device, sum_dtype(device)),
    )


def _loses(transform: str, resident: Resident) -> bool:
    with suppress(InputError):  # also without the transform's wing
        cut = find_plugin(TRANSFORMS, transform)
        cut(resident, cut.Settings(), None)
        return True
    return False

"""A model on this machine: whether there is room and time for it, and the facts that templates depend on."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.nn.functional import linear

from evoprune import InputError
from evoprune.problems.language_model.distillation.trainable_parameters import room_to_train
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, cuts_of
from evoprune.problems.language_model.models.blocks import in_features, positions_of
from evoprune.problems.language_model.models.device import free_memory, pick_device, pick_dtype
from evoprune.problems.language_model.models.gguf_source import fits_disk
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import (
    stored_dtype,
    stored_kinds,
    stored_tensors,
    weight_files,
)
from evoprune.problems.language_model.prune.reach import least_bytes, shrinking
from evoprune.problems.language_model.transforms.experts import Experts
from evoprune.problems.language_model.transforms.gguf_types.matrices import typed_matrices
from evoprune.problems.language_model.transforms.widths.cuts import Heads

_READ = 8_000  # tokens that the shortest run reads, about: it may take twice the time that is given
_TRIED, _SIDE = 64, 1024  # of the product that is timed
_HALVES, _MOST_BITS = frozenset({"F16", "BF16"}), 16.0  # which any type makes smaller


@dataclass(frozen=True)
class Subject:
    """A model, as far as templates depend on it.

    ``width``: that of an MLP, None if blocks cannot be taken apart. ``heads``, ``experts``: whether they can go.
    ``weight_size``: the root mean square of weights, by which rates are given (Shazeer and Stern, "Adafactor", ICML
    2018, section 8). ``positions``: tokens that it reads at once, at most. ``one_file``: whether the result is to be a
    .gguf file; ``base``: another one; ``widths``: how many weights have rows of each length, in matrices that
    have types; ``kinds_of_source``: types of matrices in the source; ``shrinking``: how many times as many bits
    as in the smallest of :data:`.reach.FAST`. ``form``: of blocks in a .gguf file, see
    :func:`evoprune.problems.language_model.gguf.sources.cuts_of`; ``least``: about the bytes of the smallest one of all
    weights. ``roomy``: whether there is memory to train all weights; ``differentiable``: for gradients of them.
    """

    width: int | None
    heads: bool
    weight_size: float
    positions: int
    experts: bool = False
    widths: Mapping[int, int] = field(default_factory=dict)
    kinds_of_source: Sequence[str] = ()
    shrinking: float = 1.0
    one_file: bool = False
    form: str = BLOCKS
    least: float = 0.0
    roomy: bool = False
    differentiable: bool = False
    base: str | None = None

    @property
    def quantised(self) -> frozenset[str]:
        """The quantised types of the source that a .gguf file may keep; none for a folder."""
        return frozenset(self.kinds_of_source) - ggml.FLOATS if self.one_file else frozenset()

    @property
    def weights(self) -> int:
        return max(1, sum(self.widths.values()))

    @property
    def least_bits(self) -> float:
        """The bits of a weight in the smallest file of types alone."""
        return 8 * self.least / self.weights

    def types(self, bits: float, times: Mapping[str, float] = MappingProxyType({})) -> list[str]:
        """The types to choose from, from more to fewer bits; none is as large as all of the source's.

        ``times``: to quantise all weights, as a share of the time for it; types above 1 stay out. But for rows of each
        width there is one of at most ``bits`` a weight, the fastest to make, or else the smallest.
        """
        chosen: set[str] = set()
        for width in self.widths:
            fitting = sorted((kind for kind in ggml.COMMON if ggml.fits(kind, width)), key=ggml.bits)
            reaching = [kind for kind in fitting if ggml.bits(kind) <= bits] or fitting[:1]
            chosen |= {min(reaching, key=lambda kind: times.get(kind, 0.0))} if reaching else set()
            chosen |= {kind for kind in fitting if times.get(kind, 0.0) <= 1}
        most = max((ggml.bits(kind) for kind in self.kinds_of_source if kind in ggml.COMMON), default=_MOST_BITS)
        if not {*self.kinds_of_source} & _HALVES:
            chosen = {kind for kind in chosen if ggml.bits(kind) < most}
        return sorted(chosen, key=lambda kind: (-ggml.bits(kind), kind))


def model_settings(model: str, seconds: float, on: str = "auto") -> ModelSettings:
    """Return settings for ``model`` on the device ``on``: in the dtype of the files if there is no room for another.

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
    least = weights * _READ / _products(device, dtype)
    if least > 2 * seconds:
        raise InputError(
            f"is too short for {weights / 1e9:.1f} billion weights in {dtype} on this machine; expected at least about "
            f"{math.ceil(least / 60)}m",
            "--time",
        )
    return settings


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the multiplications of a second that products reach."""
    inputs, weight = (torch.ones(rows, _SIDE, device=device, dtype=dtype) for rows in (_TRIED, _SIDE))
    times = [time.perf_counter()]
    for _ in range(5):
        float(linear(inputs, weight)[0, 0])  # waits for a GPU
        times.append(time.perf_counter())
    return _TRIED * _SIDE**2 / min(after - before for before, after in pairwise(times))


def subject_of(
    resident: Resident, settings: ModelSettings, one_file: bool, base: str | None, fewer_tokens: bool
) -> Subject:
    """Return the facts about ``resident``, loaded by ``settings``. ``fewer_tokens``: whether some may be left out."""
    device, widths, matrices = resident.device, Counter[int](), resident.with_stacks
    for matrix in typed_matrices(resident) if one_file else ():
        widths[matrix.rows(matrix.weight).shape[1]] += matrix.size
    tokens = len(resident.model.get_input_embeddings().weight) if fewer_tokens else 0
    middle = [each for each in matrices if each.block == matrices[len(matrices) // 2].block]
    squares = sum(float(each.weight.float().square().sum()) for each in middle)
    width = None
    with suppress(InputError, IndexError):  # experts are no layers
        width = next(in_features(each.layers[-1]) for each in resident.sublayers if each.kind == "mlp")
    return Subject(
        width=width,
        heads=_loses(Heads, resident),
        experts=_loses(Experts, resident),
        weight_size=math.sqrt(squares / sum(each.size for each in middle)),
        positions=longest(resident.model.config),
        widths=widths,
        kinds_of_source=sorted(stored_kinds(resident.source)),
        shrinking=shrinking(settings) if one_file else 1.0,
        one_file=one_file,
        roomy=room_to_train(resident.parameters, device),
        differentiable=device.type != "cpu" or Room.of("", device, 8 * resident.prunable_weights, share=1).resident,
        form=cuts_of(settings.model, base) if one_file else BLOCKS,
        least=least_bytes(settings, tokens) if one_file else 0.0,
        base=base,
    )


def longest(config: Any) -> int:
    """Return the most tokens that a model of ``config`` reads at once, 2,048 if it has no limit."""
    return positions_of(config) or 2048


def _loses(cut: Any, resident: Resident) -> bool:
    with suppress(InputError):
        cut(resident, cut.Settings(), None)
        return True
    return False

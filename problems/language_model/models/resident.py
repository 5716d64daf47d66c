"""A model that stays in memory, and is changed in place to each candidate in turn."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import torch

from evoprune import InputError
from evoprune.problems.language_model.models import blocks
from evoprune.problems.language_model.models.device import dtype_of, follow_threads, processor_name
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.lazy_weights import execution_device, weight_of
from evoprune.problems.language_model.models.load import load_model, streams
from evoprune.problems.language_model.models.model_file import Check
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.sublayers import Sublayer, find_sublayers
from evoprune.problems.language_model.models.tensor_file import sha256_of


@dataclass(eq=False)
class Resident:
    """One model on one device and its tokenizer; transforms change its weights in place, and may swap the tokenizer."""

    model: Any
    tokenizer: Any
    source: str  # as in the settings
    streams: bool = False
    """True if candidates have lazy weights, see :mod:`.lazy_weights`."""

    _for_run: ClassVar[dict[str, Any]] = {}

    @classmethod
    def load(cls, settings: ModelSettings, check: Check | None = None) -> Self:
        """Load a model, or return the one of :meth:`keep_for_run`; ``check``: see :func:`load_model`."""
        follow_threads()
        resident: Self | None = cls._for_run.pop(settings.model, None)
        if resident is None or settings.dtype not in {resident.dtype, "auto"} or settings.device != "auto":
            resident = cls(*load_model(settings, check), settings.model)
        resident.streams = streams(settings, resident.model, execution_device(resident.model))
        return resident

    def keep_for_run(self) -> None:
        """Let the next :meth:`load` of this model in this process return this object, which must be dense."""
        self._for_run[self.source] = self

    @cached_property
    def matrices(self) -> list[blocks.Matrix]:
        return blocks.find_matrices(self.model)

    @cached_property
    def mixtures(self) -> list[blocks.Mixture]:
        return blocks.find_mixtures(self.model)

    @cached_property
    def all_matrices(self) -> list[blocks.Matrix]:
        """The matrices, including stacked ones of experts, block by block."""
        stacks = [stack for mixture in self.mixtures for stack in mixture.stacks]
        return sorted([*self.matrices, *stacks], key=lambda matrix: matrix.block)

    @cached_property
    def prunable_weights(self) -> int:
        """Number of weights in :attr:`all_matrices` of the dense model."""
        return sum(matrix.size for matrix in self.all_matrices)

    @property
    def removed_weights(self) -> int:
        """Number of prunable weights that are zero or removed now."""
        return self.prunable_weights - sum(self.nonzero_weights.values())

    @property
    def nonzero_weights(self) -> dict[str, int]:
        """Number of nonzero weights now in each prunable matrix of the dense model."""
        modules = set(self.model.modules())
        remaining = [matrix for matrix in self.matrices if matrix.module in modules]
        remaining += [stack for mixture in blocks.find_mixtures(self.model) for stack in mixture.stacks]
        counts = {each.name: int(torch.count_nonzero(weight_of(each.module, each.attribute))) for each in remaining}
        return dict.fromkeys((matrix.name for matrix in self.matrices), 0) | counts

    @cached_property
    def sublayers(self) -> list[Sublayer]:
        return find_sublayers(self.model)

    @cached_property
    def block_parameters(self) -> int:
        return sum(parameter.numel() for parameter in blocks.find_blocks(self.model)[1].parameters())

    @cached_property
    def forward(self) -> Forward:
        return Forward(self.model)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> str:
        return dtype_of(self.model)

    @property
    def place(self) -> str:
        """The execution device; of a GPU with the name of the card, because kernels differ by card."""
        device = execution_device(self.model)
        return str(device) if device.type == "cpu" else f"{device} ({processor_name(device)})"

    @cached_property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @cached_property
    def weights_sha256(self) -> str:
        return sha256_of(self.model.state_dict())

    @cached_property
    def shapes_sha256(self) -> str:
        shapes = [(name, tuple(tensor.shape)) for name, tensor in self.model.state_dict().items()]
        return hashlib.sha256(repr(shapes).encode()).hexdigest()

    def remember_dense(self) -> None:
        """Compute the properties of the dense model, while it is dense."""
        _ = self.weights_sha256, self.shapes_sha256
        _ = self.parameters, self.block_parameters, self.prunable_weights
        with suppress(InputError):  # transforms that need sublayers raise it again
            _ = self.sublayers

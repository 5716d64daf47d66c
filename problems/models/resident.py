"""A model that stays in memory; candidates are made from it in place, one after the other."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from evoprune import InputError
from problems.models.blocks import Matrix, count_zeros, find_blocks, find_matrices, in_features
from problems.models.device import device_of, dtype_of, follow_threads, keep_freed_memory
from problems.models.forward import Forward
from problems.models.load import load_model
from problems.models.settings import ModelSettings
from problems.models.sublayers import Sublayer, find_sublayers
from problems.models.tensor_file import sha256_of


@dataclass(frozen=True, eq=False)
class Resident:
    """One model on one device, its tokenizer, and a way to run it. Transforms change its weights in place."""

    model: Any
    tokenizer: Any
    source: str
    """The source of the model, as in the settings."""

    @classmethod
    def load(cls, settings: ModelSettings) -> Resident:
        """Load the model that ``settings`` name. Raises :class:`evoprune.InputError`."""
        follow_threads()
        return cls(*load_model(settings), settings.model)

    @cached_property
    def matrices(self) -> list[Matrix]:
        """The weight matrices of the blocks, block by block. Raises :class:`evoprune.InputError`."""
        return find_matrices(self.model)

    @cached_property
    def prunable_weights(self) -> int:
        """How many weights the matrices of the blocks were loaded with."""
        return sum(matrix.size for matrix in self.matrices)

    @property
    def removed_weights(self) -> int:
        """How many of these are gone now: those that are zero, and those of matrices that were taken out."""
        running = set(self.model.modules())
        left = [matrix for matrix in self.matrices if matrix.module in running]
        return self.prunable_weights - sum(matrix.size for matrix in left) + count_zeros(left)

    @cached_property
    def sublayers(self) -> list[Sublayer]:
        """The attention and the MLP of each block. Read it before anything is dropped.

        Raises :class:`evoprune.InputError` where a block cannot be taken apart.
        """
        return find_sublayers(self.model)

    @property
    def attention_width(self) -> int:
        """The width of what the heads give now, summed over the blocks. Raises as :attr:`sublayers` does."""
        running = set(self.model.modules())
        outputs = [sublayer.layers[-1] for sublayer in self.sublayers if sublayer.kind == "attention"]
        return sum(in_features(layer) for layer in outputs if layer in running)

    @cached_property
    def block_parameters(self) -> int:
        """How many parameters the blocks were loaded with."""
        return sum(parameter.numel() for parameter in find_blocks(self.model)[1].parameters())

    @cached_property
    def forward(self) -> Forward:
        """Runs the model as it is now."""
        return Forward(self.model)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> str:
        """The number format of the weights, as in the settings, such as ``float32``."""
        return dtype_of(self.model)

    @property
    def place(self) -> str:
        """The name of the device in protocols."""
        return device_of(self.model)

    @cached_property
    def parameters(self) -> int:
        """The number of parameters of the whole model when it was loaded."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @cached_property
    def weights_sha256(self) -> str:
        """The hash of all weights with their dtypes: a layer's statistics depend on the layers before it.

        Read it before anything changes the model.
        """
        return sha256_of(self.model.state_dict())

    @cached_property
    def shapes_sha256(self) -> str:
        """The hash of the names and shapes of all tensors. Read it before anything changes the model."""
        shapes = [(name, tuple(tensor.shape)) for name, tensor in self.model.state_dict().items()]
        return hashlib.sha256(repr(shapes).encode()).hexdigest()

    def remember_dense(self) -> None:
        """Read, while the model is dense, the properties that later are still to be those of the dense model."""
        _ = self.weights_sha256, self.shapes_sha256
        _ = self.parameters, self.block_parameters, self.prunable_weights
        with suppress(InputError):  # of a model that cannot be taken apart, as transforms say that need it
            _ = self.sublayers

    def settle_memory(self) -> None:
        """Call it after all large tensors are made: from then on, a CPU process keeps the memory it frees."""
        if self.device.type == "cpu":
            keep_freed_memory()

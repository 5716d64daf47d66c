"""Writes equal widths into a config, so that transformers builds the narrower model itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from problems.language_model.model.blocks import Matrix, find_blocks
from problems.pruning.cuts.units.units import Units


def has_form(model: Any, units: Units, entries: Mapping[str, int]) -> bool:
    """Whether transformers, told ``entries`` in the config, builds matrices of the shapes that ``model`` has now.

    The names of the matrices are those of the dense ``units``.
    """
    config = copy.deepcopy(model.config)
    set_form(config, entries)
    try:
        fresh = type(config).from_dict(config.to_dict())  # its own checks
        with torch.device("meta"):
            plain = type(model)(fresh)
        block, ours = find_blocks(plain)[1][0], find_blocks(model)[1][0]
        return all(_shape(block, part.matrix) == _shape(ours, part.matrix) for part in units.parts)
    except Exception:  # model classes and checks of configs raise many kinds of errors
        return False


def set_form(config: Any, entries: Mapping[str, int]) -> None:
    """Put ``entries`` into ``config``."""
    for name, value in entries.items():
        setattr(config.get_text_config(), name, value)


def _shape(block: Any, matrix: Matrix) -> tuple[int, ...]:
    return tuple(block.get_submodule(matrix.kind).weight.shape)

"""Writes equal widths into a config, so that transformers builds the narrower model itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from problems.models.blocks import find_blocks


def has_form(model: Any, entries: Mapping[str, int]) -> bool:
    """Whether transformers, told ``entries`` in the config, builds blocks of the shapes that ``model`` has now."""
    config = copy.deepcopy(model.config)
    try:
        set_form(config, entries)
        fresh = type(config).from_dict(config.to_dict())  # its own checks
        with torch.device("meta"):
            plain = type(model)(fresh)
        theirs, ours = (_shapes(find_blocks(each)[1][0]) for each in (plain, model))
        return theirs == ours
    except Exception:  # model classes and checks of configs raise many kinds of errors
        return False


def set_form(config: Any, entries: Mapping[str, int]) -> None:
    """Put ``entries`` into ``config``."""
    for name, value in entries.items():
        setattr(config.get_text_config(), name, value)


def _shapes(block: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in block.named_parameters()}

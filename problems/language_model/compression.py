"""The problem of making a language model small in several ways at once."""

from __future__ import annotations

from typing import ClassVar

from evoprune import Settings
from problems.language_model.problem import LanguageModel
from problems.language_model.settings import CompressionSettings


class Compression(LanguageModel):
    """Make a causal language model small by several transforms under one limit, at the least divergence from dense.

    Cuts come first, recovery may follow, and types are laid on what is left: all is one genome, and one file.
    """

    Settings: ClassVar[type[Settings]] = CompressionSettings

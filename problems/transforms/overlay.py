"""The interface of transforms that store what others left of the weights in another form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from evoprune import Term
from problems.gguf.encoded import Encoded
from problems.models.throughput import Load
from problems.transforms.latency import Clock
from problems.transforms.shapes import Kinds, Shapes
from problems.transforms.transform import Transform

Left = Callable[[], Mapping[str, torch.Tensor]]
"""Gives the inputs that are left of matrices that lost some, see :meth:`Transform.inputs_left`."""

Beside = Callable[[tuple[int, ...]], float]
"""What a file holds beside the terms, by the levels of the genes that cut; see :class:`evoprune.Coupled`."""


class Overlay(Transform):
    """Lies on the weights of the model, which others own: it writes into none of them, but puts its own there instead.

    In a stack it comes last: lifted before others are applied, and laid on what they leave.
    """

    @property
    def parts(self) -> frozenset[str]:
        """The form alone, which no cut changes."""
        return frozenset({"form"})

    @abstractmethod
    def lie_on(self, shapes: Shapes) -> None:
        """Others may cut parameters to ``shapes``: leave levels out that these do not allow.

        Called before the genes are read; another call with the same shapes changes nothing. Raises
        :class:`evoprune.InputError` where no level is left.
        """

    @abstractmethod
    def lift(self) -> None:
        """Put back the weights that lie beneath."""

    @abstractmethod
    def lay(self, genome: Sequence[float], left: Left) -> None:
        """Lie on the weights as they are now, in the form of ``genome``."""

    def apply(self, genome: Sequence[float]) -> None:
        """Lie on the model as it was loaded."""
        self.lay(genome, dict)

    @abstractmethod
    def encode_left(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        """As :meth:`encode`, of a model that has these inputs ``left``."""

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """See :meth:`Transform.encode`."""
        return self.encode_left(model, genome, dict)

    def unencoded(self, genome: Sequence[float]) -> list[float]:  # noqa: ARG002 - nothing of it is left
        """All in 16 bits."""
        return self.dense

    def bare(self) -> Transform:
        """Itself: it updates nothing."""
        return self

    def shaping(self, genome: Sequence[float]) -> Sequence[float]:  # noqa: ARG002 - none of them
        """None."""
        return []

    @abstractmethod
    def kinds(self, shapes: Shapes) -> Kinds:
        """What its genes, which come after those that cut to ``shapes``, store in which types; the first is dense."""

    @abstractmethod
    def clock_on(self, stack: Transform, load: Load, cuts: Sequence[Any]) -> Clock:
        """What times the models of ``stack``: genes that cut, of which ``cuts`` say what; then this transform's own."""

    @abstractmethod
    def byte_terms(self, shapes: Shapes) -> tuple[list[Term], Beside]:
        """What a file weighs, by the genes that cut to ``shapes``, and then this transform's own."""

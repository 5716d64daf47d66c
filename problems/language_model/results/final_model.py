"""The final model of a search, for measuring, training and exporting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import torch

from evoprune import InputError
from evoprune.plugins import EVOLVED
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.load import copy_of
from evoprune.problems.language_model.models.tensor_file import read_tensors
from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.transforms.form import Bytes, Encoded

RECOVERED = "recovered.safetensors"
"""File in a run's folder with the weights that a recovery trained."""


class QuantisedModel(NamedTuple):
    """A model with the values of its quantised parameters, and the parameters as a file stores them, by name."""

    model: Any
    encoded: Mapping[str, Encoded]


@dataclass(frozen=True)
class FinalModel:
    """The final model of a search. Its weights, later ones replacing earlier ones:

    1. the transform's final weights of ``genome``: masked, cut or rounded to types, the rest updated;
    2. weights that distillation ``recovered``, by parameter name: uint8 for the bytes of a quantised matrix with
       trained scales;
    3. trained matrices rounded again to the types of ``genome``.
    """

    session: Session
    genome: Sequence[float]
    recovered: Mapping[str, torch.Tensor] = field(default_factory=dict)
    rounded: bool = True  # False: before matrices are rounded to types

    def make_resident(self) -> QuantisedModel:
        """Make the session's resident model that of step 1."""
        transform, model = self.session.transform, self.session.resident.model
        transform.finalise(self.genome)
        if not self.rounded:
            if transform.form:
                transform.form.swap_out()
            return QuantisedModel(model, {})
        return QuantisedModel(model, transform.encoded())

    def copy(self, dtype: torch.dtype | None = None) -> QuantisedModel:
        """Return a copy on the CPU in ``dtype`` (default: the session's). Raises InputError for other weights."""
        resident, encoded = self.make_resident()
        model = copy_of(resident, dtype or resident.dtype)
        weights = self._unencoded
        _put(model, weights)
        if encoded.keys() & weights.keys():
            return QuantisedModel(model, self.round(model))
        scaled = {name: each.numpy() for name, each in self.recovered.items() if name not in weights}
        return QuantisedModel(model, {**encoded, **_put_encoded(model, scaled, encoded)})

    def rounds_after(self, train: str) -> bool:
        """Return True if matrices are rounded after training ``train``; norms and scales are trained afterwards."""
        return train not in {"norms", "scales"} and self.session.transform.form is not None

    def to_train(self, train: str) -> Self:
        """Return the model to train: unrounded if matrices are rounded afterwards."""
        if not self.rounds_after(train):
            return self
        return replace(self, rounded=False, recovered=self._unencoded)

    @property
    def _unencoded(self) -> dict[str, torch.Tensor]:
        """Recovered weights without the bytes of quantised matrices."""
        return {name: each for name, each in self.recovered.items() if each.dtype != torch.uint8}

    def round(self, model: Any) -> Mapping[str, Encoded]:
        """Round the matrices of ``model``, trained from :meth:`to_train`, to the types of the genome."""
        return self.session.transform.encode(model, self.genome)


def final_model(session: Session, genome: Sequence[float], result: LanguageModelResult) -> FinalModel:
    """Return the final model of the run with the ``result``: with recovered weights, if they helped."""
    helped = result.recovered is not None and result.recovered[EVOLVED].helped
    return FinalModel(session, genome, read_tensors(result.folder / RECOVERED)[0] if helped and result.folder else {})


def _put(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for name, weight in weights.items():
        _check_shape(name, parameters, weight)
        parameters[name].data.copy_(weight)


def _put_encoded(model: Any, scaled: Mapping[str, Bytes], encoded: Mapping[str, Encoded]) -> Mapping[str, Encoded]:
    """Load the bytes ``scaled``, in the types of ``encoded``, into ``model``."""
    matrices = {matrix.parameter: matrix for matrix in find_matrices(model)}
    changed, tensors = {}, {name: matrix.data for name, matrix in encoded.items()}
    for name, data in scaled.items():
        _check_shape(name, tensors, data)
        changed[name] = encoded[name].with_data(data)
        changed[name].put_into(matrices[name])
    return changed


def _check_shape(name: str, tensors: Mapping[str, Any], weight: Any) -> None:
    if name not in tensors or tensors[name].shape != weight.shape:
        raise InputError(f"the recovered weights are not this model's: {name}")

"""The scores of each matrix, and the levels and splits that are made from them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from evoprune import InputError
from evoprune.problems.language_model.calibration.statistics import statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, shared
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.scores import find_score, needs, scope_of, source
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.weights.genes import Group, split
from evoprune.problems.language_model.transforms.weights.masks import BASE, LEVEL, SPLIT
from evoprune.problems.language_model.transforms.weights.ranks import levels, ranks_in_matrix, ranks_in_rows


class Scoring:
    """The score of each of ``matrices``: the one that ``scores`` has for its kind, else ``score``.

    ``scope``: the set within which weights are compared; ``auto`` is that of each score.
    """

    def __init__(self, matrices: Sequence[Matrix], score: str, scores: Mapping[str, str], scope: str) -> None:
        kinds = dict.fromkeys(matrix.kind for matrix in matrices)
        for kind in scores:
            if kind not in kinds:
                raise InputError(f"problem.scores: no matrix is called '{kind}' (known: {', '.join(kinds)})")
        self._matrices, self._scope = list(matrices), scope
        self._names = {kind: scores.get(kind, score) for kind in kinds}
        self._scores = {kind: find_score(name) for kind, name in self._names.items()}

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*map(needs, self._scores.values()))

    def tokens_of(self, texts: Texts) -> torch.Tensor:
        """Return the calibration text if the scores need it; else it is not read."""
        return texts.calibration.tokens if self.needs else torch.empty(0, 1, dtype=torch.int64)

    def scope(self, kind: str) -> str:
        """The set within which weights of ``kind`` are compared: ``matrix``, ``row`` or ``group``."""
        return scope_of(self._scores[kind]) if self._scope == "auto" else self._scope

    def describe(self) -> dict[str, str]:
        return {kind: f"{name} by {self.scope(kind)}" for kind, name in self._names.items()}

    @property
    def label(self) -> str:
        return ", ".join(dict.fromkeys(self.describe().values()))

    @property
    def code(self) -> list[str]:
        """The source of each score, because another version of a score has the same name."""
        return [source(score) for _, score in sorted(self._scores.items())]

    def scored(self, model: Any, tokens: torch.Tensor) -> Iterator[tuple[Matrix, torch.Tensor]]:
        """Each matrix and the scores of its weights in ``model`` as it is now: float32, in the layer's layout.

        ``tokens`` ``(windows, window)``: the calibration text; not read if nothing is needed.
        """
        for matrix, known in statistics(model, tokens, self._matrices, self.needs):
            weight = matrix.rows(matrix.weight.detach()).float()
            score = self._scores[matrix.kind]
            if unknown := needs(score) - known.keys():
                raise InputError(
                    f"'{self._names[matrix.kind]}' needs the {', '.join(sorted(unknown))} of an expert's inputs, which "
                    "is not gathered: expected a score without it, such as wanda",
                    "problem.score",
                )
            scores = _score(score, weight, matrix, {name: known[name] for name in needs(score)})
            if scores.shape != weight.shape or not torch.isfinite(scores).all():
                name = self._names[matrix.kind]
                raise InputError(f"problem.score: '{name}' gives {matrix.name} not one finite score for each weight")
            yield matrix, matrix.laid_out(scores).contiguous()

    def levels(self, model: Any, groups: Sequence[Group], tokens: torch.Tensor) -> Tensors:
        """The levels of the weights, and the split of each group's loss, as masks need them."""
        return self.levels_of(self.scored(model, tokens), groups)

    def levels_of(self, scored: Iterable[tuple[Matrix, torch.Tensor]], groups: Sequence[Group]) -> Tensors:
        """As :meth:`levels`, of matrices and their scores as :meth:`scored` gives them."""
        stored: Tensors = {}
        waiting: Tensors = {}
        for matrix, score in scored:
            by_row = self.scope(matrix.kind) == "row"
            ranks = matrix.laid_out(ranks_in_rows(matrix.rows(score))) if by_row else ranks_in_matrix(score)
            stored[LEVEL + matrix.name] = levels(ranks).contiguous()
            if self._scope == "group":
                waiting[matrix.name] = score
                self._split_finished(groups, waiting, stored)
        return stored

    def _split_finished(self, groups: Sequence[Group], waiting: Tensors, stored: Tensors) -> None:
        for group in groups:
            names = [matrix.name for matrix in group.matrices]
            if all(name in waiting for name in names):
                tables = split([waiting.pop(name) for name in names])
                stored.update({SPLIT + name: table for name, table in zip(names, tables, strict=True)})


def originals(resident: Resident, matrices: Sequence[Matrix]) -> Tensors:
    """Return the weights as loaded: shared by all processes on a CPU; another device copies them faster than files."""

    def made() -> Tensors:
        return {BASE + matrix.name: matrix.weight.detach().clone() for matrix in matrices}

    return shared(resident, "original weights", [], made) if resident.device.type == "cpu" else made()


def _score(
    score: Callable[..., torch.Tensor], weight: torch.Tensor, matrix: Matrix, known: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """The scores of ``weight`` ``(out, in)``, of stacked experts of each alone, by the statistics ``known``."""
    if not isinstance(matrix, ExpertStack):
        return score(weight, **known)
    each = weight.split(matrix.outputs)
    of_each = {name: own.reshape(len(each), -1, own.shape[-1]) for name, own in known.items()}
    experts = ({name: own[at].squeeze(0) for name, own in of_each.items()} for at in range(len(each)))
    return torch.cat([score(own, **of_one) for own, of_one in zip(each, experts, strict=True)])

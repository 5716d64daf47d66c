"""The parts of one process: a resident model, its texts, a transform of it, and the fitness of genomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from problems.evaluation.fitness import Fitness
from problems.evaluation.settings import EvaluationSettings
from problems.models.resident import Resident
from problems.texts.text_splits import Texts
from problems.transforms.transform import Transform


@dataclass(frozen=True)
class Session:
    """The parts that measuring, reporting and exporting need; each is made once."""

    settings: EvaluationSettings
    resident: Resident
    texts: Texts
    transform: Transform
    fitness: Fitness

    @classmethod
    def start(
        cls,
        settings: EvaluationSettings,
        calibrates: bool,
        make_transform: Callable[[Resident, Texts], Transform],
    ) -> Session:
        """Load the model and make everything else from it. Raises :class:`evoprune.InputError`.

        ``calibrates``: whether the calibration text is used.
        """
        resident = Resident.load(settings)
        resident.remember_dense()
        texts = Texts(settings, resident, calibrates)
        _ = texts.search  # a text that cannot be used is reported before the statistics, which take time
        transform = make_transform(resident, texts)
        resident.settle_memory()
        return cls(settings, resident, texts, transform, Fitness(settings, resident, transform, texts.search))

    def final_perplexity(self, genome: Sequence[float], tokens: torch.Tensor) -> float:
        """The perplexity of ``genome``'s final model on ``tokens`` ``(windows, window)``; afterwards it is dense."""
        self.transform.finalise(genome)
        found = self.fitness.measure.perplexity(tokens)
        self.transform.apply(self.transform.dense)
        return found

"""The parts of one process: a resident model, its texts, its transform, and the fitness of genomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from problems.evaluation import EvaluationSettings
from problems.evaluation.measure import Divergence, Measure, Objective, Perplexity
from problems.evaluation.prefix_cache import PrefixCache
from problems.models.resident import Resident
from problems.texts.text_splits import Texts
from problems.texts.windows import Windows
from problems.transforms.stack import combined
from problems.transforms.transform import Transform

PERPLEXITY = (
    "exp of the mean next-token loss over non-overlapping windows, losses in float32, no special tokens added but the "
    "one that a text's begin names"
)


class Fitness:
    """Scores genomes on the windows ``search``, and reuses hidden states of related candidates."""

    def __init__(self, settings: EvaluationSettings, resident: Resident, transform: Transform, search: Windows) -> None:
        self._settings, self._resident, self._transform, self._search = settings, resident, transform, search
        if settings.compile:
            resident.forward.compile()
        self.measure = Measure(resident.forward, settings.batch_tokens)
        state_bytes = search.tokens.numel() * resident.forward.bytes_per_state
        self._states = PrefixCache(resident.forward.depth, state_bytes, settings.reuse_mib * 2**20)
        self._objective = self.objective_on(search)
        self.tokens_scored = 0  # by value

    def value(self, genome: Sequence[float], fidelity: float = 1.0) -> tuple[float, int]:
        """Return the objective for ``genome``, and the tokens scored: the first ``fidelity``, in (0, 1], of them."""
        self._transform.apply(genome)
        tokens = self._search.tokens[: max(1, math.ceil(fidelity * self._search.tokens.shape[0]))]
        self._states.begin(self._transform.marks())
        value = self.measure.value(tokens, self._objective, self._states)
        self._states.judge(value)
        self.tokens_scored += tokens.numel()
        return value, tokens.numel()

    def loss(self, genome: Sequence[float], fidelity: float = 1.0) -> float:
        """As :meth:`value`, in nats per token: the logarithm of a perplexity, and a divergence unchanged."""
        value, _ = self.value(genome, fidelity)
        return math.log(value) if isinstance(self._objective, Perplexity) else value

    def perplexity(self, genome: Sequence[float], tokens: torch.Tensor) -> float:
        self._transform.apply(genome)
        return self.measure.perplexity(tokens)

    def objective_on(self, windows: Windows) -> Objective:
        """The objective of the search on ``windows``; the model may be dense afterwards."""
        if self._settings.objective == "perplexity":
            return Perplexity()
        divergence = Divergence(windows.predictions, min(self._settings.kl_top, self._resident.forward.vocabulary))
        self._transform.apply(self._transform.dense)
        self.measure.total(windows.tokens, divergence.learn)
        return divergence


@dataclass(frozen=True)
class Session:
    """The parts that measuring, reporting and exporting need; each is made once."""

    settings: EvaluationSettings
    resident: Resident
    texts: Texts
    transform: Transform
    fitness: Fitness

    @classmethod
    def start(cls, settings: EvaluationSettings, calibrates: bool, chosen: Sequence[tuple[Any, Any]]) -> Self:
        """Load the model and make everything else from it; ``chosen``: transforms and their settings."""
        resident = Resident.load(settings)
        resident.remember_dense()
        texts = Texts(settings, resident, calibrates)
        _ = texts.search  # a text that cannot be used is reported before the statistics, which take time
        transform = combined([kind(resident, own, texts) for kind, own in chosen])
        resident.settle_memory()
        return cls(settings, resident, texts, transform, Fitness(settings, resident, transform, texts.search))

    def protocol(self) -> dict[str, Any]:
        """The protocol of measurements of the models of a run, on any text."""
        settings, resident, texts = self.settings, self.resident, self.texts
        return {
            **protocol_of(resident),
            "revision": settings.revision,
            "weights_sha256": resident.weights_sha256,
            "threads": torch.get_num_threads(),
            "batch_tokens": self.fitness.measure.batch_tokens,
            **self.transform.describe(),
            "calibration_text": texts.calibration.protocol() if texts.calibrates else None,
            "sparsity_denominators": {"prunable": resident.prunable_weights, "model": resident.parameters},
        }


def protocol_of(resident: Resident) -> dict[str, Any]:
    """The protocol of measurements of any model, stated with every perplexity."""
    return {"perplexity": PERPLEXITY, "model": resident.source, "dtype": resident.dtype, "device": resident.place}

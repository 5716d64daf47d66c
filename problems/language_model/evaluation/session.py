"""The parts of one process: a resident model, its texts, its transform, and the fitness of genomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import torch
from cachetools import LRUCache

from evoprune.plugins import note
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure, Objective, Perplexity
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache
from evoprune.problems.language_model.evaluation.together import Candidate, totals_together
from evoprune.problems.language_model.models.device import free_memory, keep_freed_memory
from evoprune.problems.language_model.models.lazy_weights import lazy_forwards
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.stack import Stack

PERPLEXITY = (
    "exp of the mean next-token loss over non-overlapping windows, losses in float32 from logits in the model's "
    "number format, no special tokens added but the one that a text's begin names"
)

_STREAM = "set problem.memory to stream"

_RECENT = 1000  # candidates whose scores are cached
_REUSED = 0.1  # share of the free memory, at most, for hidden states that candidates reuse


class Score(NamedTuple):
    """The ``value`` of the objective, the next-token ``loss`` in nats a token, and the number of ``tokens`` scored."""

    value: float
    loss: float
    tokens: int

    @property
    def perplexity(self) -> float:
        return Perplexity().value(self.loss, 1)


class Fitness:
    """Scores genomes on the search text, and reuses hidden states of related candidates.

    Losses are per token of the dense model's tokenizer, even if a transform has swapped it.
    """

    def __init__(self, settings: EvaluationSettings, resident: Resident, transform: Stack, texts: Texts) -> None:
        self._settings, self._resident, self._transform, self._texts = settings, resident, transform, texts
        self.measure = Measure(resident.forward, settings.batch_tokens)
        self.require_memory("the search", texts.search)
        state_bytes = texts.search.tokens.numel() * resident.forward.bytes_per_state
        limit = min(settings.reuse_mib * 2**20, int(_REUSED * free_memory(resident.device)))
        self._states = PrefixCache(resident.forward.depth, state_bytes, limit)
        self._divergences: dict[Any, Divergence] = {}
        self._parts: dict[Any, Windows] = {}
        self._scores: LRUCache[Any, Score] = LRUCache(_RECENT)
        """Scores by text and genome."""
        self.objective_on(texts.search, transform.dense)

    def require_memory(self, phase: str, windows: Windows) -> None:
        """Raise :class:`evoprune.Stopped` if ``phase``, which scores ``windows``, needs more memory than is free."""
        forward = self.measure.forward
        if forward.device.type != "cpu":  # a GPU halves the batch
            return
        taken = forward.working_bytes(min(self.measure.batch_tokens, windows.tokens.numel()), torch.get_num_threads())
        Placement.of(phase, forward.device, 0, taken, "" if self._resident.streams else _STREAM)

    def value(self, genome: Sequence[float], fidelity: float = 1.0) -> tuple[float, int]:
        """Return the objective for ``genome``, and the number of tokens scored: a share ``fidelity``, in (0, 1].

        The divergence of a dense model from itself needs no token.
        """
        search = self._texts.search
        objective = self.objective_on(search, genome)
        self._transform.apply(genome)
        if isinstance(objective, Divergence) and self._is_dense(genome):
            return objective.offset, 0
        self._states.set_candidate(self._transform.block_fingerprints())
        part = self._part(search, fidelity)
        totals = self.measure.totals(part.tokens, objective.add, self._states)
        return self._cache_score(genome, _score(objective, totals, part))

    @property
    def together(self) -> bool:
        """True if :meth:`values` should score all genomes in one run of the model."""
        return self._transform.facts.lazy and self._resident.forward.resumable

    def values(self, genomes: Sequence[Sequence[float]], fidelity: float = 1.0) -> list[tuple[float, int]]:
        """Return :meth:`value` of each of ``genomes``, the same bits, in one run of the model."""
        search = self._texts.search
        objectives = [self.objective_on(search, genome) for genome in genomes]  # which may run the dense model
        part = self._part(search, fidelity)
        values, candidates = {}, {}
        for place, (genome, objective) in enumerate(zip(genomes, objectives, strict=True)):
            if isinstance(objective, Divergence) and self._is_dense(genome):
                values[place] = objective.offset, 0
            else:
                self._transform.apply(genome)
                lazy = lazy_forwards(self._resident.model)
                candidates[place] = Candidate(self._transform.block_fingerprints(), lazy, objective.add)
        try:
            totals = totals_together(self.measure, part.tokens, [*candidates.values()], self._states)
        except OSError as error:
            note(f"candidates are scored one after the other: no room for the states of {len(genomes)} ({error})")
            return [self.value(genome, fidelity) for genome in genomes]
        for place, sums in zip(candidates, totals, strict=True):
            values[place] = self._cache_score(genomes[place], _score(objectives[place], sums, part))
        return [values[place] for place in range(len(genomes))]

    def _cache_score(self, genome: Sequence[float], score: Score) -> tuple[float, int]:
        """Cache the score of ``genome`` on the search text, if the whole text was scored."""
        search = self._texts.search
        if score.tokens == self._texts.retokenised(search).tokens.numel():
            self._scores[search.identity, tuple(genome)] = score
        return score.value, score.tokens

    def scores(self, genome: Sequence[float], texts: Sequence[Windows]) -> list[Score]:
        """Return the scores of ``genome`` on each of ``texts``, measured unless they are cached.

        The genome is applied once for all texts, as that may take as long as scoring a text.
        """
        objectives = [self.objective_on(windows, genome) for windows in texts]
        if self._settings.objective != "perplexity" and self._is_dense(genome):
            dense = [self.divergence_on(windows, genome) for windows in texts]
            return [Score(divergence.offset, divergence.loss, 0) for divergence in dense]
        keys = [(windows.identity, tuple(genome)) for windows in texts]
        if not self._scores.keys() >= {*keys}:
            self._transform.apply(genome)
        for windows, key, objective in zip(texts, keys, objectives, strict=True):
            if key not in self._scores:
                self._scores[key] = self.score_model(windows, objective)
        return [self._scores[key] for key in keys]

    def cached_score(self, genome: Sequence[float], windows: Windows) -> Score | None:
        """Return the score of ``genome`` on ``windows``, if it was measured."""
        return self._scores.get((windows.identity, tuple(genome)))

    def score_model(
        self, windows: Windows, objective: Objective | None = None, measure: Measure | None = None
    ) -> Score:
        """Score the model as it is now, or the copy that ``measure`` runs; by default its perplexity."""
        objective, part = objective or Perplexity(), self._texts.retokenised(windows)
        return _score(objective, (measure or self.measure).totals(part.tokens, objective.add, None, "measuring"), part)

    def objective_on(self, windows: Windows, genome: Sequence[float]) -> Objective:
        """Return the objective of the search on ``windows`` for ``genome``; may change the resident model."""
        return Perplexity() if self._settings.objective == "perplexity" else self.divergence_on(windows, genome)

    def divergence_on(self, windows: Windows, genome: Sequence[float]) -> Divergence:
        """Return the divergence on ``windows`` from the dense model with the vocabulary of ``genome``."""
        teacher = self._transform.teacher(genome)
        key = windows.identity, tuple(teacher)
        if key not in self._divergences:
            self._transform.apply(teacher)
            read = self._texts.retokenised(windows)
            forward = self._resident.forward
            divergence = Divergence(read.predictions, min(self._settings.kl_top, forward.vocabulary), forward.device)
            divergence.loss = read.loss_scale * self.measure.total(read.tokens, divergence.store) / read.predictions
            self._divergences[key] = divergence
            divergence.offset = divergence.loss - self.divergence_on(windows, self._transform.dense).loss
        return self._divergences[key]

    def _part(self, windows: Windows, fidelity: float) -> Windows:
        """Return the first ``fidelity`` of ``windows``, retokenised."""
        read = self._texts.retokenised(windows)
        key = read.identity, fidelity
        if fidelity < 1 and key not in self._parts:
            self._parts[key] = read.select(range(max(1, math.ceil(fidelity * len(read.tokens)))))
        return self._parts.get(key, read)

    def _is_dense(self, genome: Sequence[float]) -> bool:
        return tuple(self._transform.teacher(genome)) == tuple(genome)


def _score(objective: Objective, totals: Sequence[float], part: Windows) -> Score:
    """Return the score from ``totals`` over ``part``: first the ``objective``, last the next-token losses."""
    value = objective.value(part.loss_scale * totals[0], part.predictions)
    return Score(value, part.loss_scale * totals[-1] / part.predictions, part.tokens.numel())


@dataclass(frozen=True)
class Session:
    """The parts that measuring, reporting and exporting need."""

    settings: EvaluationSettings
    resident: Resident
    texts: Texts
    transform: Stack

    @classmethod
    def start(cls, settings: EvaluationSettings, chosen: Sequence[tuple[Any, Any]]) -> Self:
        """Prepare a session, and score the dense model on the search text."""
        session = cls.prepare(settings, chosen)
        _ = session.fitness
        return session

    @classmethod
    def prepare(cls, settings: EvaluationSettings, chosen: Sequence[tuple[Any, Any]]) -> Self:
        """Load the model, the texts and the transforms; ``chosen``: classes of transforms and their settings."""
        resident = Resident.load(settings)
        resident.remember_dense()
        texts = Texts(settings, resident, any(kind.calibrates(own) for kind, own in chosen))
        _ = texts.search  # a text that cannot be used is reported before the statistics, which take time
        transform = Stack([kind(resident, own, texts) for kind, own in chosen])
        if resident.device.type == "cpu":
            keep_freed_memory()  # after all large tensors are made
        return cls(settings, resident, texts, transform)

    @cached_property
    def fitness(self) -> Fitness:
        """The fitness of genomes; its first use scores the dense model."""
        return Fitness(self.settings, self.resident, self.transform, self.texts)

    def protocol(self) -> dict[str, Any]:
        """Return the protocol of measurements of the models of a run, on any text."""
        settings, resident, texts = self.settings, self.resident, self.texts
        return {
            **protocol_of(resident),
            "revision": settings.revision,
            "weights_sha256": resident.weights_sha256,
            "threads": torch.get_num_threads(),
            "batch_tokens": self.fitness.measure.batch_tokens,
            **self.transform.facts.describe(),
            "calibration_text": texts.calibration.protocol() if texts.calibrates else None,
            "sparsity_denominators": {"prunable": resident.prunable_weights, "model": resident.parameters},
        }


def protocol_of(resident: Resident) -> dict[str, Any]:
    """Return the protocol of measurements of any model, which is stated with every perplexity."""
    return {"perplexity": PERPLEXITY, "model": resident.source, "dtype": resident.dtype, "device": resident.place}

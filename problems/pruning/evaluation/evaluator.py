"""Scores genomes on a resident model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial

import torch

from evoprune import Evaluation, InputError, __version__
from problems.pruning.evaluation.measure import Measure
from problems.pruning.evaluation.objectives import Divergence, Objective, Perplexity
from problems.pruning.evaluation.shared import Tensors, shared
from problems.pruning.evaluation.states import States, prefix_names
from problems.pruning.masking.genes import make_genes
from problems.pruning.masking.masks import Masks
from problems.pruning.masking.scoring import Scoring
from problems.pruning.model.blocks import Matrix, find_matrices
from problems.pruning.model.device import follow_threads, keep_freed_memory
from problems.pruning.model.forward import Forward
from problems.pruning.model.load import load_model
from problems.pruning.reconstruct.stages import reconstruct_at_stages
from problems.pruning.settings import PruningSettings, TextSettings
from problems.pruning.statistics.calibration import Statistics, statistics
from problems.pruning.text.windows import Windows, check_length, cut, held_out, share_a_window


class Evaluator:
    """One model on one device: masks it as a genome says and measures what is left of it."""

    def __init__(self, settings: PruningSettings) -> None:
        self.settings = settings
        follow_threads()
        self.model, self.tokenizer = load_model(settings)
        self.device: torch.device = self.model.device  # type: ignore[assignment]
        self.matrices = find_matrices(self.model)
        self.genes = make_genes(self.matrices, settings)
        self.groups = self.genes.groups
        self.search = self.windows(settings.search_text, "search_text")
        self.scoring = Scoring(settings, self.matrices)
        self.weights_sha256 = self._hash_weights()
        self.masks = Masks(self.groups, self._stored(), self.genes.sparsities, settings.reconstruct_stages)
        if self.device.type == "cpu":
            keep_freed_memory()
        self._forward = Forward(self.model)
        if settings.compile:
            self._forward.compile()
        self.measure = Measure(self._forward, settings.batch_tokens)
        state_bytes = self.search.tokens.numel() * self._forward.bytes_per_state
        self._states = States(self._forward.depth, state_bytes, settings.reuse_mib * 2**20)
        self.objective = self._objective()
        self.tokens_scored = 0
        """By :meth:`evaluate`, in all."""

    @cached_property
    def report(self) -> Windows:
        """The windows that score the result; read by the process that reports, and by no search."""
        report = self.windows(self.settings.report_text, "report_text")
        seen = {"search_text": self.search, "calibration_text": self.calibration if self.calibrates else None}
        for role, windows in (seen | {"held-out text": self.held_out}).items():
            if windows and share_a_window(report, windows):
                raise InputError(
                    f"problem.report_text holds passages of the {role}, and what a search sees must not score its "
                    "result; give another text, or cut the file in two"
                )
        return report

    @cached_property
    def calibration(self) -> Windows:
        """The windows that scores and reconstruction learn from; read where they are needed."""
        at_most = self.settings.calibration_text is None  # then no one asked for a number of windows
        return self.windows(self.settings.calibration, "calibration_text", at_most)

    @cached_property
    def held_out(self) -> Windows | None:
        """Windows of the search text's source that neither search nor calibration sees; None if there are none."""
        count = self.settings.held_out_windows
        if not count:
            return None
        same = self.calibrates and self.settings.calibration.identity == self.settings.search_text.identity
        return held_out(self.search, [self.calibration] if same else [], count, self.tokenizer)

    @property
    def model_size(self) -> int:
        """How many parameters the whole model has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        """The objective for ``genome`` on the first ``fidelity``, in (0, 1], of the search windows.

        At least one window is scored; work is counted in tokens.
        """
        sparsity = self.masks.apply(genome)
        tokens = self.search.tokens[: max(1, math.ceil(fidelity * self.search.tokens.shape[0]))]
        names = prefix_names(self.masks.block_cuts())
        value = self.measure.value(tokens, self.objective, self._states, names)
        self._states.judge(names, value)
        values = (value, sparsity) if self.settings.second_objective == "sparsity" else (value,)
        self.tokens_scored += tokens.numel()
        return Evaluation(values, work=tokens.numel(), measures={"sparsity": sparsity})

    def perplexity(self, genome: Sequence[float], tokens: torch.Tensor) -> float:
        """The perplexity of ``genome`` on ``tokens`` ``(windows, window)``, int64."""
        self.masks.apply(genome)
        return self.measure.perplexity(tokens)

    @property
    def calibrates(self) -> bool:
        """Whether anything may be learnt from the calibration text."""
        settings = self.settings
        return bool(self.scoring.needs or settings.found) or settings.reconstruct != "none"

    def statistics(self, names: Collection[str]) -> Iterator[tuple[Matrix, Statistics]]:
        """The matrices, and what ``names`` say of their inputs and gradients in the dense model."""
        self.masks.apply(self.genes.uniform(0.0))
        return statistics(self.model, self.calibration.tokens, self.matrices, names)

    def scored(self) -> Iterator[tuple[Matrix, torch.Tensor]]:
        """The matrices, and the scores of their weights in the dense model."""
        self.masks.apply(self.genes.uniform(0.0))
        return self.scoring.scored(self.model, self._calibrating)

    @property
    def _calibrating(self) -> torch.Tensor:
        """The calibration text if the scores need one; else it is not read at all."""
        return self.calibration.tokens if self.scoring.needs else torch.empty(0, 1, dtype=torch.int64)

    def _objective(self) -> Objective:
        if self.settings.objective == "perplexity":
            return Perplexity()
        divergence = Divergence(self.search.predictions, min(self.settings.kl_top, self._forward.vocabulary))
        self.masks.apply(self.genes.uniform(0.0))
        self.measure.total(self.search.tokens, divergence.learn)
        return divergence

    def _stored(self) -> Tensors:
        """The original weights and their levels, and those of the stages."""
        settings = self.settings
        what: list[object] = [__version__, self.weights_sha256]
        what += [sorted(self.scoring.describe().items()), self.scoring.code]
        what += [self.calibration.sha256, self.calibration.tokens.shape] if self.scoring.needs else []
        what += [group.name for group in self.groups] if settings.scope == "block" else []
        stored = self._shared(what, partial(self.scoring.stored, self.model, self.groups, self._calibrating))
        if not settings.reconstruct_stages:
            return stored
        tokens = self.calibration.tokens
        what += [settings.reconstruct_stages, settings.reconstruct, settings.reconstruct_mask]
        what += [self.calibration.sha256, tokens.shape]
        build = partial(reconstruct_at_stages, settings, self.model, self.matrices, tokens, stored)
        return stored | self._shared(what, build)

    def _shared(self, what: Sequence[object], build: Callable[[], Tensors]) -> Tensors:
        """The tensors that ``what`` identifies: of all evaluators on a host, or of this device."""
        if self.device.type != "cpu":
            return build()
        return shared(hashlib.sha256(repr(what).encode()).hexdigest()[:32], build, self)

    def _hash_weights(self) -> str:
        """Of all that was loaded, dtype and all: what is learnt of a layer depends on those before it."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def windows(self, text: TextSettings, role: str, at_most: bool = False) -> Windows:
        """The windows of ``text``, fewer where it is shorter if ``at_most``; ``role`` names it in errors.

        Raises :class:`evoprune.InputError`.
        """
        check_length(text, self.model, role)
        return cut(text, self.tokenizer, role, at_most)

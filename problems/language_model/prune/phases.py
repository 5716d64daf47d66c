"""The phases of ``prune`` before the search: text, pace, calibration and types, each as far as the clock allows."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from evoprune.console.phase import Phase
from evoprune.errors import blamed_on
from evoprune.experiment.resolve import resolve
from evoprune.problems.language_model.distillation.teacher import COMPENSATED
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.prune.goals import Goal, Recipe, Unneeded
from evoprune.problems.language_model.prune.reach import larger_than_source
from evoprune.problems.language_model.prune.request import Request
from evoprune.problems.language_model.prune.subject import longest, model_settings, subject_of
from evoprune.problems.language_model.prune.template import Json, filled, least_trained
from evoprune.problems.language_model.prune.vocabulary import OPTION, text_of, trained_on, unneeded
from evoprune.problems.language_model.texts.division import Division, divide, divide_lines, parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.transforms.costs import BYTES

_PACE, _CALIBRATING, _CHOOSING = 0.02, 0.12, 0.08  # shares of the time: for the pace, calibration, and errors of types
_WINDOWS = (4, 8, 16, 32, 64, 128)  # of calibration and of report text
_TYPES = (4, 8, 20)  # nearest to the wanted bits
_QUANTISING = 0.2, 0.3  # shares of the time to quantise all weights, at most: before a training, and with none
_TRIED, _WIDTH = 64, 256  # rows that are quantised to know the time of a type, and weights in each
_CANDIDATE = 0.02  # share of the time that a candidate may take to be scored on 8 windows, else 4
_LONG = 600.0  # seconds, from which the more exact of two ways is taken, and the first file does not wait for more
_COMPENSATING, _COMPENSATED = 2.5, 0.05  # cost of a token of Gram matrices, in scores; share of the time for new codes
_TRAINING, _TRAINABLE = 6.0, 0.5  # cost of a trained token, in scores; share of the time, about
_REPORTED = 0.06  # share of the time for a pass over the report text, without a training: there are about six
_TRAINED_WINDOW = 256  # tokens in a window that a result is trained on, at most
_MANY = 0.15  # share of the parameters in rows of tokens from which fewer tokens may lose less than cuts


class Phases:
    """A model that is loaded and looked at on the clock of ``request``."""

    def __init__(self, options: argparse.Namespace, request: Request) -> None:
        """Load the model. Raises InputError for a text or a model that is unfit."""
        self.request, self._clock, self._pace, self._imatrix = request, request.clock, 0.0, options.imatrix
        given = options.task or options.text or options.vocabulary
        option = "--task" if options.task else OPTION if options.vocabulary and not options.text else "--text"
        with blamed_on(option):
            self._parts = parts_of(given)
        self._words = text_of(options.vocabulary, given, self._parts) if options.vocabulary else None
        device = options.devices.split(",")[0]
        self.settings = model_settings(options.model, math.inf if options.quick else self._clock.seconds, device)

        def divided(tokenizer: Any, config: Any) -> Division:
            with blamed_on(option):
                found = (divide_lines if options.task else divide)(given, self._parts, tokenizer, longest(config))
            for other in options.also or ():
                with blamed_on("--also"):
                    text = TextSettings(source=other, window=found.window)
                    cut_windows(text, tokenizer, "second_text", at_most=True)
            return found

        with Phase(f"loading {options.model}"):
            self.resident = Resident.load(self.settings, divided)  # texts are refused before the weights are read
        if request.one_file:
            find_base(self.resident, request.base)  # raises an error if nothing says what the file holds besides
        with Phase("looking at the model"):
            self.text = divided(self.resident.tokenizer, self.resident.model.config)
            tokens = self._words is not None
            self.subject = subject_of(self.resident, self.settings, request.one_file, request.base, tokens)
            self.goal: Goal | None = request.goal
            if self._words and isinstance(self.goal, Unneeded):
                self.goal = unneeded(self.resident, self._words, self._parts["search"])

    def experiment(self, seed: int, others: Sequence[str]) -> Json:
        """Fill the template of the goal; ``others``: the texts of ``--also``. Raises InputError if it cannot be met."""
        assert self.goal is not None
        goal, subject = self.goal, self.subject
        name, bits = goal.template(subject), goal.bits(subject)
        report = self._timed()
        trained = _TRAINABLE * self._clock.seconds / (_TRAINING * self._pace) >= least_trained(name)
        early = min(1.0, _LONG / self._clock.seconds)
        near: list[Sequence[str]] = []
        if bits is not None:
            times = self._quantising_times(_QUANTISING[0 if trained else 1] * early)
            near = [subject.types_near(bits, count, times) for count in _TYPES]
        types = near[0] if near else goal.fast_types(subject)
        counts = self._counts("calibration")
        with Phase("calibrating"):
            windows = self._clock.doubled(
                _CALIBRATING * early, counts, lambda count: self.session(name, goal, types, count, report)
            )
        if near:
            with Phase("estimating the errors of types"):
                types = self._clock.doubled(
                    _CHOOSING * early, near, lambda own: self.session(name, goal, own, windows, report)
                )
        if isinstance(goal, Recipe):
            budget = self.session(name, goal, types, windows, report).transform.budget(BYTES, None)
            goal.value = budget.spent(budget.extreme(most=False))
        if not trained:  # the time makes the report more certain
            report = max(count for count in self._counts("report") if count == report or self._fits(count))
        found = self._filled(name, goal, types, windows, report, others)
        if not trained:
            del found["problem"]["recover"]
        searched = found["problem"]["search_text"]
        return found | {"budget": found.pop("evaluations") * searched["windows"] * searched["window"], "seed": seed}

    def session(
        self, name: str, goal: Goal, types: Sequence[str], calibration: int = _WINDOWS[0], report: int = _WINDOWS[0]
    ) -> Session:
        """Make the session of a template: what it calibrates and estimates is in the cache then.

        ``calibration``, ``report``: windows of these texts.
        """
        self.resident.keep_for_run()
        experiment = self._filled(name, goal, types, calibration, report)
        experiment["problem"].pop("recover", None)
        del experiment["evaluations"]
        settings: Any = resolve(experiment, "prune").settings
        return Session.prepare(settings, settings.chosen_transforms)

    def _filled(
        self, name: str, goal: Goal, types: Sequence[str], calibration: int, report: int, others: Sequence[str] = ()
    ) -> Json:
        slots = goal.slots(self.subject, self._clock.seconds < _LONG, types) | self._texts(report, others)
        more = {"calibration": self.text.settings("calibration", calibration), "imatrix": self._imatrix}
        return filled(name, slots | more)

    def _timed(self) -> int:
        """Score the dense model on doublings of the report text; return the windows, and leave the pace."""
        measure, tokens = Measure(self.resident.forward, None), self.resident.tokenizer

        def score(windows: int, window: int) -> None:
            settings = TextSettings(**replace(self.text, window=window).settings("report", windows))
            read = cut_windows(settings, tokens, "report_text", at_most=True).tokens
            begun = time.monotonic()
            measure.value(read, Perplexity())
            self._pace = (time.monotonic() - begun) / read.numel()

        with Phase("timing the model"):
            score(1, self.text.sizes[-1])  # the first pass takes longer
            score(1, self.text.sizes[-1])
            fitting = [
                size for size in self.text.sizes if _WINDOWS[0] * size * self._pace <= _PACE * self._clock.seconds
            ]
            self.text = replace(self.text, window=(fitting or self.text.sizes[-1:])[0])
            return self._clock.doubled(_PACE, self._counts("report"), lambda count: score(count, self.text.window))

    def _counts(self, part: str) -> list[int]:
        """The numbers of windows that ``part`` of the text has."""
        return [count for count in _WINDOWS if count <= self.text.windows(part)] or [_WINDOWS[0]]

    def _fits(self, windows: int) -> bool:
        """Tell whether a report on so many windows leaves time for everything else, where nothing is trained."""
        return windows * self.text.window * self._pace <= _REPORTED * self._clock.seconds

    def _quantising_times(self, share: float) -> dict[str, float]:
        """The time to quantise all weights to each type, relative to a ``share`` of all, by some rows of noise."""
        draws, times = np.random.default_rng(0), {}
        weights = draws.standard_normal((_TRIED, _WIDTH), np.float32)
        importance = draws.random(_WIDTH, np.float32)
        whole = self.subject.weights / weights.size / torch.get_num_threads()
        for kind in ggml.COMMON:
            ggml.quantize(weights[:1], kind, importance)  # the first call makes tables
            begun = time.monotonic()
            ggml.quantize(weights, kind, importance)
            times[kind] = (time.monotonic() - begun) * whole / (share * self._clock.seconds)
        return times

    def _texts(self, report: int, others: Sequence[str]) -> Json:
        text, window = self.text, self.text.window
        searched = 8 if 8 * window * self._pace <= _CANDIDATE * self._clock.seconds else 4
        trained = trained_on(self._words, self._parts, text.windows("search"))
        second = [{"source": TextSettings(source=one).source, "window": window, "windows": report} for one in others]
        return {
            "model": self.settings.model,
            "dtype": self.resident.dtype,
            "vocabulary": [self._words] if self._words else None,
            "search": text.settings("search", searched),
            "held_out": text.count(searched),
            "report": text.settings("report", report),
            "others": second or None,
            "keep_codes": _COMPENSATING * COMPENSATED * self._pace > _COMPENSATED * self._clock.seconds,
            "training": f"{max(1.0, self._clock.left):.0f}s",
            "trained_window": text.line or min(_TRAINED_WINDOW, window),
            "trained_text": trained["source"],
            "trained_split": trained.get("split"),
            "trained_part": trained.get("part"),
        }

    def room(self, budget: Any) -> float:
        """Bytes that the export needs, at least: a draft comes before a .gguf file, which may be compared with one."""
        parameters, is_gguf = self.resident.parameters, self.settings.model.endswith(".gguf")
        one_file, size, halves = self.request.one_file, 2.0 * parameters, 2.0 * parameters
        if one_file or not is_gguf:
            size = min(size, bytes_of(weight_files(self.settings)) or size)
        limit = budget if isinstance(budget, dict) else {}
        size *= 1.0 - float(limit.get("removed", 0.0))
        most = float(limit.get("at_most", math.inf))
        limits = {"bytes": most, "bits_per_weight": most * parameters / 8, "milliseconds": self.subject.least}
        size = min(size, limits.get(limit.get("use", ""), math.inf))
        return 2 * size + (0.0 if is_gguf else halves) if one_file else size

    def remarks(self, experiment: Json) -> Iterator[str]:
        """Lines for the user: the decisions of the clock."""
        resident, problem, model = self.resident, experiment["problem"], self.settings.model
        if larger := larger_than_source(self.settings, resident.parameters, experiment):
            yield larger
        yield f"{model}: {resident.parameters:,} parameters, {resident.dtype} on {resident.place}"
        yield self.text.remark
        search, calibration = problem["search_text"], problem["calibration_text"]
        trained = problem.get("recover", {}).get("train")
        yield (
            f"{calibration['windows']} windows of {calibration['window']} tokens to calibrate, {search['windows']} for "
            f"each candidate, {problem['report_text']['windows']} for the report, {1 / self._pace:,.0f} tokens/s; "
            + (f"the time that is left then trains {trained}" if trained else "nothing is trained")
        )
        rows = resident.model.get_input_embeddings().weight.numel() / resident.parameters
        cuts = self.goal is not None and self.goal.cuts(self.subject)
        if cuts and not self._words and rows >= _MANY:
            yield (
                f"{rows:.0%} of the parameters are rows of tokens: {OPTION} TEXT, which leaves out those that a text "
                "does not need, may lose less"
            )
        if not self.subject.heads and "'channels'" in repr(problem.get("transforms")):
            yield "attentions cannot lose heads in this model: channels of MLPs alone go"

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
from evoprune.problems.language_model.prune.template import Json, filled
from evoprune.problems.language_model.prune.vocabulary import OPTION, text_of, trained_on, unneeded
from evoprune.problems.language_model.texts.division import Division, divide, divide_lines, parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.transforms.costs import BYTES

_PACE, _CALIBRATING, _CHOOSING = 0.02, 0.12, 0.08  # shares of the time: for the pace, calibration, and errors of types
_WINDOWS = (4, 8, 16, 32, 64, 128)  # of calibration
_REPORTED = (8, 4, 2, 1)  # windows of report text, the most that fit: every text has eight
_REPORTING, _PASSES = 0.5, 7.0  # share of the time for passes over them, and their number, in PyTorch and llama.cpp
_TYPES = (4, 8, 20)  # nearest to the wanted bits
_QUANTISING = 0.2  # share of the time to quantise all weights, at most
_TRIED, _WIDTH = 64, 256  # rows that are quantised to know the time of a type, and weights in each
_CANDIDATE = 0.02  # share of the time that a candidate may take to be scored on 8 windows, else 4
_LONG = 600.0  # seconds, from which the more exact of two ways is taken, and the first file does not wait for more
_COMPENSATING, _COMPENSATED = 2.5, 0.05  # cost of a token of Gram matrices, in scores; share of the time for new codes
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
            self._report = self.text, _REPORTED[0]  # its windows are as long as the text allows, whatever the time
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
        self._time()
        early = min(1.0, _LONG / self._clock.seconds)
        near: list[Sequence[str]] = []
        if bits is not None:
            times = self._quantising_times(_QUANTISING * early)
            near = [subject.types_near(bits, count, times) for count in _TYPES]
        types = near[0] if near else goal.fast_types(subject)
        counts = [count for count in _WINDOWS if count <= self.text.windows("calibration")] or [_WINDOWS[0]]
        with Phase("calibrating"):
            windows = self._clock.doubled(
                _CALIBRATING * early, counts, lambda count: self.session(name, goal, types, count)
            )
        if near:
            with Phase("estimating the errors of types"):
                types = self._clock.doubled(_CHOOSING * early, near, lambda own: self.session(name, goal, own, windows))
        if isinstance(goal, Recipe):
            budget = self.session(name, goal, types, windows).transform.budget(BYTES, None)
            goal.value = budget.spent(budget.extreme(most=False))
        found = self._filled(name, goal, types, windows, others)
        searched = found["problem"]["search_text"]
        return found | {"budget": found.pop("evaluations") * searched["windows"] * searched["window"], "seed": seed}

    def session(self, name: str, goal: Goal, types: Sequence[str], calibration: int = _WINDOWS[0]) -> Session:
        """Make the session of a template, with so many windows to calibrate: its statistics are in the cache then."""
        self.resident.keep_for_run()
        experiment = self._filled(name, goal, types, calibration)
        experiment["problem"].pop("recover", None)
        del experiment["evaluations"]
        settings: Any = resolve(experiment, "prune").settings
        return Session.prepare(settings, settings.chosen_transforms)

    def _filled(
        self, name: str, goal: Goal, types: Sequence[str], calibration: int, others: Sequence[str] = ()
    ) -> Json:
        slots = goal.slots(self.subject, self._clock.seconds < _LONG, types) | self._texts(others)
        more = {"calibration": self.text.settings("calibration", calibration), "imatrix": self._imatrix}
        return filled(name, slots | more)

    def _time(self) -> None:
        """Time the dense model: its pace decides the windows of the search, and how many of the report fit."""
        window, tokens, seconds = self.text.sizes[-1], self.resident.tokenizer, self._clock.seconds
        settings = TextSettings(**replace(self.text, window=window).settings("report", 1))
        read = cut_windows(settings, tokens, "report_text", at_most=True).tokens
        measure = Measure(self.resident.forward, None)
        with Phase("timing the model"):
            for _ in range(2):  # the first pass takes longer
                begun = time.monotonic()
                measure.value(read, Perplexity())
                self._pace = (time.monotonic() - begun) / read.numel()
        pass_seconds = _PASSES * self.text.window * self._pace
        fitting = [count for count in _REPORTED if count * pass_seconds <= _REPORTING * seconds]
        self._report = self.text, (fitting or _REPORTED[-1:])[0]
        short = [size for size in self.text.sizes if _WINDOWS[0] * size * self._pace <= _PACE * seconds]
        self.text = replace(self.text, window=(short or [window])[0])

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

    def _texts(self, others: Sequence[str]) -> Json:
        (report, reported), text, window = self._report, self.text, self.text.window
        searched = 8 if 8 * window * self._pace <= _CANDIDATE * self._clock.seconds else 4
        trained = trained_on(self._words, self._parts, text.windows("search"))
        sizes = {"window": report.window, "windows": reported}
        second = [{"source": TextSettings(source=one).source, **sizes} for one in others]
        return {
            "model": self.settings.model,
            "dtype": self.resident.dtype,
            "vocabulary": [self._words] if self._words else None,
            "search": text.settings("search", searched),
            "held_out": text.count(searched),
            "report": report.settings("report", reported),
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
        report, trained = problem["report_text"], problem.get("recover", {}).get("train")
        yield (
            f"{1 / self._pace:,.0f} tokens/s: {report['windows']} windows of {report['window']} tokens to report on, "
            f"{calibration['windows']} of {calibration['window']} to calibrate, {search['windows']} for candidates; "
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

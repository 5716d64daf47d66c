"""The phases of ``prune`` before the search: text, pace, calibration and types, each as far as the clock allows."""

from __future__ import annotations

import argparse
import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evoprune import InputError
from evoprune.console.formatting import digits
from evoprune.console.phase import Phase
from evoprune.errors import blamed_on
from evoprune.experiment.resolve import resolve
from evoprune.operators.knapsack import Choices
from evoprune.problems.language_model.distillation.teacher import COMPENSATED
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.prune.goals import Goal, Recipe, Size, Unneeded
from evoprune.problems.language_model.prune.reach import command, option_value
from evoprune.problems.language_model.prune.request import Request
from evoprune.problems.language_model.prune.subject import longest, model_settings, subject_of
from evoprune.problems.language_model.prune.template import Json, filled
from evoprune.problems.language_model.recovery import TRAINING
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.texts.division import Division, divide, divide_lines, parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import cut_windows, tokens_of
from evoprune.problems.language_model.transforms.costs import BYTES
from evoprune.problems.language_model.transforms.vocabulary.order import order_of, uses_in

_CANDIDATE, _CALIBRATING = 0.02, 0.12  # shares of the time: for a candidate, at most, and for calibration
_QUANTISING = 0.5  # share of the time in which a type would quantise all weights, at most: few get one type
_SEARCHING, _FIRST = 0.3, 0.2  # shares of the time that is left: for the search, and for types of its first candidate
_REPORTING, _PASSES = 0.5, 11.0  # share of the time for passes over the report text, and their number, with llama.cpp's
_WINDOWS = (4, 8, 16, 32, 64, 128)  # of calibration, doublings; of the search 8 or 4, of the report 8 or fewer
_PRINTED = 16  # windows of calibration, at most, in an experiment that is printed: there, they are not tried
_TRIED, _WIDTH = 64, 256  # rows that are quantised to know the time of a type, and weights in each
_LONG = 600.0  # seconds, from which the more exact of two ways is taken, and the first file does not wait for more
_COMPENSATING, _COMPENSATED = 2.5, 0.05  # cost of a token of Gram matrices, in scores; share of the time for new codes
_TRAINED_WINDOW = 256  # tokens in a window that a result is trained on, at most
_LEAST_TRAINED = 2048  # tokens that scales are trained on, at least: on SmolLM2 an eighth of the divergence goes
_LOST, _STEP = 0.02, 256  # expected nats a token that tokens left out may cost, about a hundredth; tokens of a step
_MANY = 32  # windows, of which a search reads 8, and a training holds out at most as many
_SHARES = (0.6, 0.35, 0.1)  # of the way from the least bytes of types to the source's, as powers


class Phases:
    """A model that is loaded and looked at on the clock of ``request``."""

    def __init__(self, options: argparse.Namespace, request: Request) -> None:
        """Load the model. Raises InputError for a text or a model that is unfit."""
        self.request, self._clock, self._pace, self._imatrix = request, request.clock, 0.0, options.imatrix
        self._printed = options.print_config
        given, words, others = options.task or options.text or options.vocabulary, options.vocabulary, options.also
        option = "--task" if options.task else Unneeded.option if words and not options.text else "--text"
        with blamed_on(option):
            self._parts = parts_of(given)
        self._words = _text_of(words, given, self._parts) if words else None
        device = options.devices.split(",")[0]
        self.settings = model_settings(options.model, math.inf if options.quick else self._clock.seconds, device)

        def divided(tokenizer: Any, config: Any) -> Division:
            with blamed_on(option):
                found = (divide_lines if options.task else divide)(given, self._parts, tokenizer, longest(config))
            with blamed_on("--also"):
                for other in others or ():
                    cut_windows(TextSettings(source=other, window=found.window), tokenizer, "second_text", at_most=True)
            return found

        with Phase(f"loading {options.model}"):
            resident = self.resident = Resident.load(self.settings, divided)  # texts are refused before it reads more
        if request.one_file:
            find_base(resident, request.base)  # raises an error if nothing says what the file holds besides
        with Phase("looking at the model"):
            self.text = self._report = divided(resident.tokenizer, resident.model.config)
            self._searched = self._reported = 8
            self._others = [TextSettings(source=one).source for one in others or ()]
            self.subject = subject_of(resident, self.settings, request.one_file, request.base, words is not None)
            self.goal: Goal | None = request.goal
            if self._words and isinstance(self.goal, Unneeded):
                self.goal = _unneeded(resident, self._words, self._parts["search"])

    def experiment(self, seed: int) -> Json:
        """Fill the template of the goal. Raises InputError if it cannot be met."""
        assert self.goal is not None
        goal, subject = self.goal, self.subject
        name = goal.template(subject)
        self._time()
        early = min(1.0, _LONG / self._clock.seconds)
        types = goal.types(subject, dict if self._printed else lambda: self._quantising_times(early))
        counts = [count for count in _WINDOWS if count <= self.text.windows("calibration")] or _WINDOWS[:1]
        windows = min(counts[-1], _PRINTED)
        if not self._printed:
            with Phase("calibrating"):
                windows = self._clock.doubled(
                    _CALIBRATING * early, counts, lambda count: self.session(name, goal, types[-1:], count)
                )
        if isinstance(goal, Recipe):
            sizes = self.session(name, goal, types, windows).transform.budget(BYTES, None)
            goal.value = sizes.spent(sizes.extreme(most=False))
        found = self._filled(name, goal, types, windows)
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

    def _time(self) -> None:
        """Time the dense model: the report has its time first, in long windows; search windows may be short."""
        sizes, tokens, seconds = self.text.sizes, self.resident.tokenizer, self._clock.seconds
        settings = TextSettings(**replace(self.text, window=sizes[-1]).settings("report", 1))
        read = cut_windows(settings, tokens, "report_text", at_most=True).tokens
        measure = Measure(self.resident.forward, None)
        with Phase("timing the model"):
            for _ in range(2):  # the first pass takes longer
                begun = time.monotonic()
                measure.value(read, Perplexity())
                self._pace = (time.monotonic() - begun) / read.numel()
        while self._reported > 1 and self._reading > _REPORTING * seconds:
            self._reported //= 2
        ways = [(size, count) for size in sizes for count in (8, 4)]
        fitting = [(size, count) for size, count in ways if size * count * self._pace <= _CANDIDATE * seconds]
        window, self._searched = (fitting or ways[-1:])[0]
        self.text = replace(self.text, window=window)

    @property
    def searching(self) -> float:
        """Seconds for the search: a share of those left, or all but the report's where nothing can be trained."""
        left = self._clock.left
        return _SEARCHING * left if self._trains(_SEARCHING) else max(_SEARCHING * left, left - self._reading)

    @property
    def _reading(self) -> float:
        """Seconds of all passes over the report text."""
        return _PASSES * self._reported * self._report.window * self._pace

    def _trains(self, share: float) -> bool:
        """True if the least training has room in the time that the report and a ``share`` for the search leave."""
        return self._reading + TRAINING * _LEAST_TRAINED * self._pace < (1 - share) * self._clock.left

    def _quantising(self, early: float) -> float:
        """Seconds to quantise in: a share of the ``early`` part of all, a lower one where training needs the rest."""
        most = _QUANTISING * early * self._clock.seconds
        return min(most, _FIRST * self._clock.left) if self._trains(_FIRST) else most

    def _quantising_times(self, early: float) -> dict[str, float]:
        """The time to quantise all weights to each type, as a share of :meth:`_quantising`, by some rows of noise."""
        draws, times, seconds = np.random.default_rng(0), {}, self._quantising(early)
        weights = draws.standard_normal((_TRIED, _WIDTH), np.float32)
        importance = draws.random(_WIDTH, np.float32)
        whole = self.subject.weights / weights.size / torch.get_num_threads()
        for kind in ggml.COMMON:
            ggml.quantize(weights[:1], kind, importance)  # the first call makes tables
            begun = time.monotonic()
            ggml.quantize(weights, kind, importance)
            times[kind] = (time.monotonic() - begun) * whole / seconds
        return times

    def _filled(self, name: str, goal: Goal, types: Sequence[str], calibration: int) -> Json:
        text, report = self.text, self._report.settings("report", self._reported)
        trained = _trained_on(self._words, self._parts, text.windows("search"))
        sizes = {"window": self._report.window, "windows": self._reported}
        slots = {
            "model": self.settings.model,
            "dtype": self.resident.dtype,
            "vocabulary": [self._words] if self._words else None,
            "search": text.settings("search", self._searched),
            "held_out": text.count(self._searched),
            "calibration": text.settings("calibration", calibration),
            "imatrix": self._imatrix,
            "report": report,
            "others": [{"source": source, **sizes} for source in self._others] or None,
            "keep_codes": _COMPENSATING * COMPENSATED * self._pace > _COMPENSATED * self._clock.seconds,
            "training": f"{max(1.0, self._clock.left):.0f}s",
            "trained_window": text.line or min(_TRAINED_WINDOW, text.window),
            "least_trained": _LEAST_TRAINED,
            "trained_text": trained["source"],
            "trained_split": trained.get("split"),
            "trained_part": trained.get("part"),
        }
        return filled(name, goal.slots(self.subject, self._clock.seconds < _LONG, types) | slots)

    def room(self, budget: Any) -> float:
        """Bytes that the export needs, at least: a draft comes before a .gguf file, which may be compared with one."""
        one_file, is_gguf = self.request.one_file, self.settings.model.endswith(".gguf")
        limit = budget if isinstance(budget, dict) and budget.get("use") == BYTES else {}
        halves = 2.0 * self.resident.parameters
        source = bytes_of(weight_files(self.settings)) if one_file or not is_gguf else halves
        size = min(halves, source or halves, float(limit.get("at_most", math.inf)))
        return 2 * size + (0.0 if is_gguf else halves) if one_file else size

    def remarks(self, experiment: Json) -> Iterator[str]:
        """Lines for the user: the decisions of the clock."""
        resident, problem, model = self.resident, experiment["problem"], self.settings.model
        whole, made = bytes_of(weight_files(self.settings)), 2.0 * resident.parameters
        transforms = repr(problem.get("transforms"))
        if model.endswith(".gguf") and made > whole and not ("'types'" in transforms or isinstance(self.goal, Size)):
            yield (
                f"the result is in 16 bits, about {megabytes(made)} before anything is removed, where {model} has "
                f"{megabytes(whole)}: --out FILE.gguf keeps its types"
            )
        if self.request.one_file and isinstance(self.goal, Size) and self.goal.cuts(self.subject):
            yield f"types alone reach about {megabytes(self.subject.least)}: what is removed below that loses far more"
        yield f"{model}: {resident.parameters:,} parameters, {resident.dtype} on {resident.place}"
        yield self.text.remark
        search, calibration, report = (problem[f"{name}_text"] for name in ("search", "calibration", "report"))
        trained = problem.get("recover", {}).get("train")
        yield (
            f"{1 / self._pace:,.0f} tokens/s: {report['windows']} windows of {report['window']} tokens to report on, "
            f"{calibration['windows']} of {calibration['window']} to calibrate, {search['windows']} for candidates; "
            + (f"the time that is left then trains {trained}" if trained else "nothing is trained")
        )
        if not self.subject.heads and "'channels'" in transforms:
            yield "attentions cannot lose heads in this model: channels of MLPs alone go"

    def overview(self, given: Sequence[str]) -> Iterator[str]:
        """Yield lines on sizes that the model could have, their losses without a search, and commands.

        ``given``: the option that named the text, and its name.
        """
        model, resident, subject = self.settings.model, self.resident, self.subject
        if lacking := ggml.missing():
            raise InputError(lacking, model)
        whole, least = bytes_of(weight_files(self.settings)), subject.least
        sizes = [least * (whole / least) ** share for share in _SHARES]
        session = self.session("types", Size(sizes[-1]), subject.types(subject.least_bits))
        search = session.texts.search
        yield f"{model}: {megabytes(whole)}, {resident.parameters:,} parameters; about the loss before training:"
        bits = search.predictions / search.predicted_bytes(resident.tokenizer) / math.log(2)
        for size in sizes:
            if (lost := lost_at(session, size)) is not None:
                yield f"  {megabytes(size)}, {size / whole:.0%}: {digits(lost * bits, 2)} bits per byte"
                yield f"    {command(model, '--size', option_value(size), *given)}"
        yield "smaller, faster, or with fewer tokens: prune --help"


def lost_at(session: Session, size: float) -> float | None:
    """Return the nats a token that types lose in a file of ``size`` bytes, by their estimated errors.

    None if no types are as small.
    """
    transform = session.transform
    budget = transform.budget(BYTES, size)
    if not budget.within(budget.extreme(most=False)):
        return None
    choices = Choices(budget)
    costs = np.zeros(choices.count)
    for harms in choices.harms(transform.dense, absolute=True).values():
        costs[[*harms]] = [*harms.values()]
    return float(costs[choices.numbers(choices.best(costs))].sum())


def _unneeded(resident: Resident, words: Json, text: Json) -> Unneeded:
    """Return the goal for the model ``resident``: settings of the text that says which tokens stay, and of another."""
    order = order_of(resident.tokenizer, [load_text(TextSettings(**words), Unneeded.option)])
    uses = uses_in(tokens_of(load_text(TextSettings(**text), Unneeded.option), resident.tokenizer))
    counts = range(order.fewest, len(resident.model.get_input_embeddings().weight), _STEP)
    place = bisect_left(counts, -_LOST, key=lambda count: -order.lost(uses, count))
    if place == len(counts):
        raise InputError("such a text needs all tokens: give a longer one, or a goal such as --size", Unneeded.option)
    return Unneeded(counts[place])


def _text_of(given: str, text: str | None, parts: Mapping[str, Json]) -> Json:
    """Settings of the text ``given`` for the vocabulary: where it is ``text`` itself, its part for calibration."""
    if text is not None and Path(given).resolve() == Path(text).resolve():
        return dict(parts["calibration"])
    settings = TextSettings(source=given)
    with blamed_on(Unneeded.option):
        load_text(settings, "transforms.texts")
    return {"source": settings.source}


def _trained_on(words: Json | None, parts: Mapping[str, Json], windows: int) -> Json:
    """Settings of the text to train on: another one than ``words``, which has hardly any of the missing tokens.

    ``windows``: of the part for the search; most must be left to train on.
    """
    return parts["search" if words == parts["calibration"] and windows >= _MANY else "calibration"]

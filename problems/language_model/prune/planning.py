"""The plan of the command ``prune``: an experiment for its text and model, which are timed and calibrated."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from evoprune import Plan
from evoprune.plugins import Progress, blamed_on, plugin_names, resolve
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import GOALS, Goal, Json, Output, Setup, plugins_of
from evoprune.problems.language_model.prune.looking import look, model_settings
from evoprune.problems.language_model.prune.time_plan import TimePlan
from evoprune.problems.language_model.results.recovery import RECOVERIES
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.texts.division import Division, divide, divide_lines, parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.transforms.costs import BYTES

_ORDERED = 0.5  # share of the time to order channels, at most; else only whole blocks go
_MANY = 32  # windows, of which a search reads 8, and a training holds out at most as many


class Planning:
    """The model and the text of ``call``: its experiment by :meth:`plan`, or the sizes that it could have."""

    def __init__(self, call: Any) -> None:
        """Load the model. Raises InputError for a text or a model that is unfit."""
        self.call, self.asked, self.output = call, call.asked, call.output
        option, given = call.asked.main_text
        with blamed_on(option):
            self.parts = parts_of(given)
        self.vocabulary: Json | None = None
        if words := call.asked.vocabulary:
            self.vocabulary = self.parts["calibration"] if words == given else {"source": words}
        seconds = math.inf if call.asked.quick else call.asked.seconds
        self.settings = model_settings(call.headers, seconds, call.options.devices.split(",")[0])
        with Progress(f"loading {call.model}"):
            self.resident = Resident.load(self.settings, self._divided)  # texts are refused before it reads more
        self.headers = Headers(self.settings)  # again: a model of the hub has files by now
        self.output.look(self.resident, self.headers)
        with Progress("looking at the model"):
            self.times = TimePlan(call, self._divided(self.resident.tokenizer, self.resident.model.config))
            call.refuse(self.headers)
            self.facts = look(self.resident)

    def plan(self, goal: Goal) -> Plan:
        """Plan the experiment of ``goal``. Raises InputError if it cannot be met."""
        call, output, printed = self.call, self.output, self.call.options.print_config
        goal.check(self.facts, output)
        goal = goal.measured(self)
        runtime_token = None if printed else output.runtime_token()
        self.times = replace(self.times, token=self._seconds_a_token(), runtime_token=runtime_token)
        comparing = output.choose_types(goal, None if printed else self.times.quantising)
        self.times = replace(self.times, comparing=comparing)
        with Progress("calibrating"):
            least = output.for_calibration()
            windows = self.times.calibrated(None if printed else lambda count: self.session(goal, count, least))
            if not (goal.removed(self.facts, output) or self.vocabulary):  # the bytes of all matrices are known
                output.add_slow_types(goal, lambda: self.session(goal, windows))
        goal = goal.calibrated(lambda: self.session(goal, windows))
        experiment = self._experiment(goal, windows, output)
        problem = experiment["problem"]
        self.resident.keep_for_run()
        return Plan(
            experiment,
            [*output.remarks, *self._remarks(goal, problem)],
            output.export,
            call.left,
            self.times.searching(bool(problem.get("recover"))),
            self._room(problem.get("budget") or {}),
        )

    def _divided(self, tokenizer: Any, config: Any) -> Division:
        """Divide the text as the model reads it. Raises InputError for any of the texts."""
        (option, text), task, longest = self.asked.main_text, self.asked.task, max_positions(config) or sys.maxsize
        with blamed_on(option):
            given = self.parts, tokenizer, longest
            divided = divide_lines(task, *given) if task else divide(text, *given)
        with blamed_on("--vocabulary"):
            if self.vocabulary:
                load_text(TextSettings(**self.vocabulary), "vocabulary")
        with blamed_on("--also"):
            for other in self.asked.also:
                settings = TextSettings(source=other, window=divided.window)
                cut_windows(settings, tokenizer, "second_text", at_most=True)
        return divided

    def _seconds_a_token(self) -> float:
        """Time the dense model on a window of the report."""
        settings = TextSettings(**self.times.text.settings("report", 1))
        read = cut_windows(settings, self.resident.tokenizer, "report_text", at_most=True).tokens
        measure, seconds = Measure(self.resident.forward, None), 0.0
        with Progress("timing the model"):
            for _ in range(2):  # the first pass takes longer
                begun = time.monotonic()
                measure.value(read, Perplexity())
                seconds = time.monotonic() - begun
        return seconds / read.numel()

    def session(self, goal: Goal, calibration: int = 4, output: Output | None = None) -> Session:
        """Make the session of ``goal``, with so many windows to calibrate: its statistics are in the cache then."""
        self.resident.keep_for_run()
        experiment = self._experiment(goal, calibration, output or self.output)
        settings: Any = resolve(experiment, "prune").settings
        return Session.prepare(settings, settings.chosen_transforms)

    def _experiment(self, goal: Goal, calibration: int, output: Output) -> Json:
        asked, times, parts = self.asked, self.times, self.parts
        # the text that chose the tokens has hardly any other one: it is trained on if the other part is short
        many = times.search.windows("search") >= _MANY
        trained = parts["search" if self.vocabulary == parts["calibration"] and many else "calibration"]
        sizes = {"window": times.text.window, "windows": times.reported}
        setup = Setup(
            self.facts,
            output,
            model=self.settings.model,
            dtype=self.resident.dtype,
            vocabulary=self.vocabulary,
            whole_blocks=output.loses_blocks and self.facts.ordering > _ORDERED * asked.seconds,
            others=[{"source": each, **sizes} for each in asked.also],
            trained=trained,
            **times.setup(calibration),
        )
        made = goal.experiment(setup)
        if not plugin_names(RECOVERIES):
            made["problem"].pop("recover", None)
        tokens = setup.search["windows"] * setup.search["window"]
        return made | {"budget": made.pop("evaluations") * tokens, "seed": asked.seed}

    def _room(self, budget: Json) -> float:
        """Bytes that the export needs, at least."""
        parameters = self.resident.parameters
        halves, units = 2.0 * parameters, {BYTES: 1.0, "bits_per_weight": parameters / 8}
        size: float = min(halves, units.get(budget.get("use", ""), math.inf) * budget.get("at_most", math.inf))
        return float(self.output.room(size, parameters, self.headers))

    def advice(self, goal: Goal) -> Iterator[str]:
        """Sentences on other goals whose options would help to meet ``goal``."""
        yield from filter(None, (other.advice(self, goal) for other in plugins_of(GOALS).values()))

    def _remarks(self, goal: Goal, problem: Json) -> Iterator[str]:
        """Lines for the user: the decisions of the clock."""
        resident, model, headers = self.resident, self.settings.model, self.headers
        made, uses = 2.0 * resident.parameters, {each["use"] for each in problem.get("transforms", ())}
        if headers.is_file and made > headers.bytes and "types" not in uses and not isinstance(goal, Size):
            yield (
                f"the result is in 16 bits, about {megabytes(made)} before anything is removed, where {model} has "
                f"{megabytes(headers.bytes)}: --out FILE{Path(model).suffix} keeps its types"
            )
        least = self.output.least_bytes
        if least and isinstance(goal, Size) and goal.removed(self.facts, self.output):
            yield f"types alone reach about {megabytes(least)}: cuts to get below that lose far more"
        yield from self.advice(goal)
        yield f"{model}: {resident.parameters:,} parameters, {resident.dtype} on {resident.place}"
        yield self.times.text.remark
        texts = (problem[f"{name}_text"] for name in ("report", "calibration", "search"))
        report, calibration, search = (f"{text['windows']} windows of {text['window']} tokens" for text in texts)
        trained = problem.get("recover", {}).get("train")
        then = f"the time that is left then trains {trained}" if trained else "nothing is trained"
        speed = f"{1 / self.times.token:,.0f} tokens/s"
        yield f"{speed}: {report} to report on, {calibration} to calibrate, {search} for candidates; {then}"
        if "sublayers" in uses and "channels" not in uses:
            yield f"only whole blocks go: ordering channels takes about {self.facts.ordering / 60:,.0f} min"
        if not self.facts.heads and "channels" in uses:
            yield "no heads can be removed from this model: only channels of MLPs are"

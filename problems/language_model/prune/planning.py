"""The plan of the command ``prune``: its text and model, looked at, timed and calibrated, fill a template."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evoprune import Plan
from evoprune.operators.knapsack import Choices
from evoprune.plugins import Progress, blamed_on, digits, plugin_names, resolve
from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.wings import find_in_wings
from evoprune.problems.language_model.prune.goals import SIZES, Goal
from evoprune.problems.language_model.prune.headers import Headers, command
from evoprune.problems.language_model.prune.looking import model_settings, subject_of
from evoprune.problems.language_model.prune.pace import Pace
from evoprune.problems.language_model.prune.quantising import Tried, tried_types, used_types
from evoprune.problems.language_model.prune.template import Json
from evoprune.problems.language_model.results.recovery import RECOVERIES
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.texts.division import Division, divide, divide_lines, parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.transforms.costs import BYTES

GOALS = "evoprune.goals"  # the group of entry points: functions that return the value of a goal of a wing

_MANY = 32  # windows, of which a search reads 8, and a training holds out at most as many
_SHARES = (0.6, 0.35, 0.1)  # of the way from the least bytes of types to the source's, as powers


class Planning:
    """The model and the text of ``call``: its experiment by :meth:`plan`, or the sizes that it could have."""

    def __init__(self, call: Any) -> None:
        """Load the model. Raises InputError for a text or a model that is unfit."""
        self.call, self.asked = call, call.asked
        option, given = call.asked.main_text
        with blamed_on(option):
            self._parts = parts_of(given)
        self._vocabulary: Json | None = None
        if words := call.asked.vocabulary:
            self._vocabulary = self._parts["calibration"] if words == given else {"source": words}
        seconds = math.inf if call.asked.quick else call.asked.seconds
        self.settings = model_settings(call.headers, seconds, call.options.devices.split(",")[0])
        with Progress(f"loading {call.options.model}"):
            self.resident = Resident.load(self.settings, self._divided)  # texts are refused before it reads more
        if call.one_file:
            find_base(self.resident, call.asked.base)  # raises an error if nothing says what the file holds besides
        with Progress("looking at the model"):
            self.pace = Pace(call, self._divided(self.resident.tokenizer, self.resident.model.config))
            self.headers = Headers(self.settings)  # again: a model of the hub has files by now
            call.refuse(self.headers)
            self.subject = subject_of(self.resident, self.headers, call)

    def plan(self, goal: Goal) -> Plan:
        """Fill the template of ``goal``. Raises InputError if it cannot be met."""
        call, subject, printed = self.call, self.subject, self.call.options.print_config
        goal.template(subject)  # raises an error for a model that it is not for
        if goal.name == "vocabulary" and self._vocabulary:
            needed_tokens = find_in_wings(GOALS, "vocabulary")
            goal = replace(goal, value=needed_tokens(self.resident, self._vocabulary, self._parts["search"]))
        self.pace = replace(self.pace, token=self._seconds_a_token())
        tried: dict[str, Tried] = {}
        if goal.chooses_types(subject) and not printed:
            tried = tried_types(subject.fitting, subject.weights, self.pace.quantising)
        types = goal.types(subject, {kind: own.time for kind, own in tried.items()})
        with Progress("calibrating"):
            windows = self.pace.calibrated(None if printed else lambda count: self._session(goal, types[-1:], count))
            if tried and not (goal.removed(subject) or self._vocabulary):  # the bytes of all matrices are known
                types = self._with_slow_types(goal, types, windows, tried)
        if goal.name == "recipe":
            sizes = self._session(goal, types, windows).transform.costs.budget(BYTES, None)
            goal = replace(goal, value=sizes.spent(sizes.extreme(most=False)))
        experiment = self._experiment(goal, types, windows)
        problem = experiment["problem"]
        self.resident.keep_for_run()
        return Plan(
            experiment,
            [*call.remarks, *self._remarks(goal, problem)],
            call.export,
            call.left,
            self.pace.searching(bool(problem.get("recover"))),
            self._room(problem.get("budget") or {}),
        )

    def overview(self) -> Iterator[str]:
        """Yield lines on sizes that the model could have, their losses without a search, and commands."""
        model, files = self.settings.model, self.asked.files
        whole, least = self.headers.bytes, self.subject.least
        sizes = [least * (whole / least) ** share for share in _SHARES]
        session = self._session(Goal("size", whole), self.subject.types_within(self.subject.least_bits))
        search = session.texts.search
        yield f"{model}: {megabytes(whole)}, {self.resident.parameters:,} parameters; about the loss before training:"
        bits = search.predictions / search.predicted_bytes(self.resident.tokenizer) / math.log(2)
        for size in sizes:
            if (lost := lost_at(session, size)) is not None:
                yield f"  {megabytes(size)}, {size / whole:.0%}: {digits(lost * bits, 2)} bits per byte"
                yield f"    {command(model, '--size', megabytes(size), *files)}"
        yield "smaller, faster, or with fewer tokens: prune --help"

    def _divided(self, tokenizer: Any, config: Any) -> Division:
        """Divide the text as the model reads it. Raises InputError for any of the texts."""
        (option, text), task, longest = self.asked.main_text, self.asked.task, max_positions(config) or sys.maxsize
        with blamed_on(option):
            given = self._parts, tokenizer, longest
            divided = divide_lines(task, *given) if task else divide(text, *given)
        with blamed_on("--vocabulary"):
            if self._vocabulary:
                load_text(TextSettings(**self._vocabulary), "vocabulary")
        with blamed_on("--also"):
            for other in self.asked.also:
                settings = TextSettings(source=other, window=divided.window)
                cut_windows(settings, tokenizer, "second_text", at_most=True)
        return divided

    def _seconds_a_token(self) -> float:
        """Time the dense model on a window of the report."""
        settings = TextSettings(**self.pace.text.settings("report", 1))
        read = cut_windows(settings, self.resident.tokenizer, "report_text", at_most=True).tokens
        measure, seconds = Measure(self.resident.forward, None), 0.0
        with Progress("timing the model"):
            for _ in range(2):  # the first pass takes longer
                begun = time.monotonic()
                measure.value(read, Perplexity())
                seconds = time.monotonic() - begun
        return seconds / read.numel()

    def _session(self, goal: Goal, types: Sequence[str], calibration: int = 4) -> Session:
        """Make the session of a template, with so many windows to calibrate: its statistics are in the cache then."""
        self.resident.keep_for_run()
        settings: Any = resolve(self._experiment(goal, types, calibration), "prune").settings
        return Session.prepare(settings, settings.chosen_transforms)

    def _with_slow_types(
        self, goal: Goal, types: Sequence[str], calibration: int, tried: Mapping[str, Tried]
    ) -> Sequence[str]:
        """Return ``types`` and the slower ones that the matrices of the wanted file need."""
        if (own := self._session(goal, types, calibration).transform.find(Types)) is None:
            return types
        size = goal.bits(self.subject) * self.subject.weights / 8
        return self.subject.ordered({*types, *used_types(own, size, tried)})

    def _experiment(self, goal: Goal, types: Sequence[str], calibration: int) -> Json:
        asked, pace, parts = self.asked, self.pace, self._parts
        # the text that chose the tokens has hardly any other one: it is trained on if the other part is short
        many = pace.search.windows("search") >= _MANY
        trained = parts["search" if self._vocabulary == parts["calibration"] and many else "calibration"]
        sizes = {"window": pace.text.window, "windows": pace.reported}
        slots = pace.slots(calibration) | {
            "model": self.settings.model,
            "dtype": self.resident.dtype,
            "base": asked.base,
            "imatrix": asked.imatrix,
            "vocabulary": [self._vocabulary] if self._vocabulary else None,
            "others": [{"source": each, **sizes} for each in asked.also] or None,
            **{f"trained_{key}": value for key, value in trained.items()},
        }
        found = goal.experiment(self.subject, types, slots)
        if not plugin_names(RECOVERIES):
            found["problem"].pop("recover", None)
        tokens = slots["search"]["windows"] * slots["search"]["window"]
        return found | {"budget": found.pop("evaluations") * tokens, "seed": asked.seed}

    def _room(self, budget: Json) -> float:
        """Bytes that the export needs, at least: a draft comes before a .gguf file, which may be compared with one."""
        parameters = self.resident.parameters
        halves, units = 2.0 * parameters, {BYTES: 1.0, "bits_per_weight": parameters / 8}
        size: float = min(halves, units.get(budget.get("use", ""), math.inf) * budget.get("at_most", math.inf))
        if not self.call.one_file:
            return size
        return 2 * min(size, self.headers.bytes) if self.headers.is_gguf else 2 * size + halves

    def _remarks(self, goal: Goal, problem: Json) -> Iterator[str]:
        """Lines for the user: the decisions of the clock."""
        resident, model, headers = self.resident, self.settings.model, self.headers
        made, uses = 2.0 * resident.parameters, {each["use"] for each in problem.get("transforms", ())}
        if headers.is_gguf and made > headers.bytes and "types" not in uses and goal.name not in SIZES:
            yield (
                f"the result is in 16 bits, about {megabytes(made)} before anything is removed, where {model} has "
                f"{megabytes(headers.bytes)}: --out FILE.gguf keeps its types"
            )
        if self.call.one_file and goal.name in SIZES and goal.removed(self.subject):
            yield f"types alone reach about {megabytes(self.subject.least)}: what is removed below that loses far more"
        yield f"{model}: {resident.parameters:,} parameters, {resident.dtype} on {resident.place}"
        yield self.pace.text.remark
        texts = (problem[f"{name}_text"] for name in ("report", "calibration", "search"))
        report, calibration, search = (f"{text['windows']} windows of {text['window']} tokens" for text in texts)
        trained = problem.get("recover", {}).get("train")
        then = f"the time that is left then trains {trained}" if trained else "nothing is trained"
        speed = f"{1 / self.pace.token:,.0f} tokens/s"
        yield f"{speed}: {report} to report on, {calibration} to calibrate, {search} for candidates; {then}"
        if not self.subject.heads and "channels" in uses:
            yield "attentions cannot lose heads in this model: channels of MLPs alone go"


def lost_at(session: Session, size: float) -> float | None:
    """Return the nats a token that types lose in a file of ``size`` bytes, by their estimated errors.

    None if no types are as small.
    """
    transform = session.transform
    budget = transform.costs.budget(BYTES, size)
    if not budget.within(budget.extreme(most=False)):
        return None
    choices = Choices(budget)
    costs = np.zeros(choices.count)
    for harms in choices.harms(transform.dense, absolute=True).values():
        costs[[*harms]] = [*harms.values()]
    return float(costs[choices.numbers(choices.best(costs))].sum())

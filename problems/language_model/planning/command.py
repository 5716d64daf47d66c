"""The command ``prune MODEL``: measures the model, divides text and time, and makes the experiment."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Plan, Planner
from evoprune.console.phase import Phase
from evoprune.errors import blamed_on
from evoprune.problems.language_model.gguf.sources import cuts_of
from evoprune.problems.language_model.models.cache import cache_limit
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.planning.fits import CONTEXT, KINDS_OF_CACHE
from evoprune.problems.language_model.planning.recipe import Json, Recipe, Subject
from evoprune.problems.language_model.planning.recipes import RECIPES
from evoprune.problems.language_model.planning.vocabulary import OPTION, Unneeded, text_of, trained_on, with_vocabulary
from evoprune.problems.language_model.results.summary import megabytes

if TYPE_CHECKING:  # they import torch
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.models.settings import ModelSettings
    from evoprune.problems.language_model.planning.division import Division
    from evoprune.problems.language_model.planning.early import Request
    from evoprune.problems.language_model.planning.plan import Shares
    from evoprune.problems.language_model.problem import LanguageModel
    from evoprune.problems.language_model.texts.windows import Windows

_LOOKED_AT = 4  # windows of a model that is given without a goal
_MANY = 0.15  # share of the parameters in rows of tokens from which fewer tokens may lose less than cuts
_TRAINED_WINDOW = 256  # tokens in a window that scales are trained on, at most
_BEGINNING = 5.0  # seconds before planning: Python and its packages


class Prune(Planner):
    """Make a model smaller in one command: from a goal, a text and a time to a checked export and a report.

    Without ``--out``, a .gguf file becomes one in the present folder, with the goal in its name.
    """

    help: ClassVar[str] = "make your own model smaller, in one command"
    example: ClassVar[str] = "python -m evoprune prune bundled:gpt2-mini --remove 25% --time 5m --out smaller"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", metavar="MODEL", help="a folder, a .gguf file, a hub id, or bundled:gpt2-mini")
        goals = parser.add_argument_group("goal", "one of these")
        for goal in RECIPES:
            goals.add_argument(goal.option, metavar=goal.metavar, help=goal.help)
        told = f"for --fits: tokens (default: {CONTEXT})"
        parser.add_argument("--context", type=int, metavar="N", help=told)
        told = f"for --fits: the type of keys and values (default: {KINDS_OF_CACHE[0]})"
        parser.add_argument("--kv", choices=KINDS_OF_CACHE, help=told)
        texts = parser.add_mutually_exclusive_group()
        texts.add_argument(
            "--text",
            metavar="FILE",
            help="a .txt, .jsonl or .parquet file: it is divided among search, calibration and report (default: the "
            "Python documentation that comes with Python)",
        )
        texts.add_argument(
            "--task",
            metavar="FILE.jsonl",
            help="in place of --text: lines with prompt and answer, with prompt, choices and answer, or with messages, "
            "whose answers alone are scored",
        )
        parser.add_argument(
            "--base",
            metavar="FILE.gguf",
            help="for --out OUT.gguf: a .gguf file of the same model, whose tokenizer and metadata are copied "
            "(default: MODEL itself, if it is one)",
        )
        parser.add_argument(
            OPTION,
            metavar="FILE",
            help="leave out tokens that a text like this one does not need, beside a goal or alone; other languages "
            "are read worse then (may be the file of --text)",
        )
        parser.add_argument(
            "--also",
            metavar="FILE",
            action="append",
            help="another text to measure the result on, such as one in another language; may be given more than once",
        )
        times = parser.add_mutually_exclusive_group()
        times.add_argument("--time", default="20m", help="how long it may take, as in 90s, 20m or 2h (default: 20m)")
        told = "a minute, or as much more as this model needs: the shortest --time that works"
        times.add_argument("--quick", action="store_true", help=told)
        parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")

    def __init__(self, options: argparse.Namespace) -> None:
        from evoprune.problems.language_model.planning.early import checked

        super().__init__(options)
        self._request = checked(options)
        self.name = self._request.name if self._request.recipe else None
        self.out = self._request.out

    @property
    def problem(self) -> type[LanguageModel]:
        from evoprune.problems.language_model.problem import LanguageModel

        return LanguageModel

    def plan(self) -> Plan | None:
        options, request = self.options, self._request
        found = _measured(options, request)
        if found.recipe is None:
            from evoprune.problems.language_model.planning.overview import overview

            named = {"--task": options.task, "--text": options.text}
            given = [part for option, file in named.items() if file for part in (option, file)]
            windows = found.windows.tokens[:_LOOKED_AT]
            for line in overview(options.model, found.resident, found.subject, found.text, windows, given):
                print(line)
            return None

        from evoprune.problems.language_model.planning.plan import share_out

        left = request.seconds - found.spent
        recipe, text, shares = share_out(found.recipe, found.subject, found.text, left, options.quick)
        made = recipe.experiment(found.subject, shares.evaluations)
        problem = _problem(found, recipe, text, shares, made["problem"], options.also or ())
        searched = problem["search_text"]
        experiment = made | {
            "problem": problem,
            "budget": round(shares.evaluations * searched["windows"] * searched["window"]),
            "seed": options.seed,
        }
        remarks = [*request.remarks, *_remarks(found, recipe, text, shares, made)]
        found.resident.keep_for_run()
        base = {"base": request.base} if request.base else {}
        export = request.memory | base | ({} if shares.compared else {"untimed": True})
        begins, searching = (shares.seconds - shares.exporting, shares.searching) if shares.exporting else (None, None)
        room = _room(found, problem.get("budget", {}), request.one_file, compared=shares.compared)
        return Plan(experiment, remarks, export, begins, searching, room)


@dataclass(frozen=True)
class _Measured:
    """A loaded model, and what planning knows of it. ``words``: settings of the text that says which tokens stay."""

    recipe: Recipe | None
    settings: ModelSettings
    resident: Resident
    subject: Subject
    text: Division
    parts: Mapping[str, Json]
    words: Json | None
    windows: Windows
    spent: float  # seconds, for a file


def _measured(options: argparse.Namespace, request: Request) -> _Measured:
    from evoprune.problems.language_model.gguf.base import find_base
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.planning.at_all import model_settings
    from evoprune.problems.language_model.planning.division import divide, divide_lines, parts_of
    from evoprune.problems.language_model.planning.plan import SEARCHED
    from evoprune.problems.language_model.planning.smallest import least_bytes
    from evoprune.problems.language_model.planning.subject import longest, measure_subject
    from evoprune.problems.language_model.texts.settings import TextSettings
    from evoprune.problems.language_model.texts.windows import cut_windows

    recipe, one_file, base = request.recipe, request.one_file, request.base
    given = options.task or options.text or options.vocabulary
    option = "--task" if options.task else OPTION if options.vocabulary and not options.text else "--text"
    with blamed_on(option):
        parts = parts_of(given)
    words = text_of(options.vocabulary, given, parts) if options.vocabulary else None
    device = options.devices.split(",")[0]
    settings = model_settings(options.model, math.inf if options.quick else request.seconds, device)

    def divided(tokenizer: Any, config: Any) -> Division:
        with blamed_on(option):
            found = (divide_lines if options.task else divide)(given, parts, tokenizer, longest(config))
        for other in options.also or ():
            with blamed_on("--also"):
                text = TextSettings(source=other, window=found.window)
                cut_windows(text, tokenizer, "second_text", at_most=True)
        return found

    begun, computed = time.perf_counter(), time.process_time()
    with Phase(f"loading {options.model}"):
        resident = Resident.load(settings, divided)  # texts are refused before the weights are read
    loading = time.perf_counter() - begun
    if one_file:
        find_base(resident, base)  # raises an error if nothing says what the file holds beside the weights
    with Phase("measuring the model"):
        text = divided(resident.tokenizer, resident.model.config)
        short = replace(text, window=text.sizes[-1]).settings("search", SEARCHED)
        windows = cut_windows(TextSettings(**short), resident.tokenizer, "text")
        if words and isinstance(recipe, Unneeded):
            recipe = recipe.sized(resident, words, parts["search"])
        tokens = len(resident.model.get_input_embeddings().weight) if words else 0
        files = (cuts_of(options.model, base), least_bytes(settings, tokens)) if one_file else ()
        gradients = recipe is not None and recipe.differentiates
        subject = measure_subject(resident, windows, loading, gradients, one_file, base, *files)
    planning, spent = time.perf_counter() - begun, 0.0
    if one_file:
        spent = _BEGINNING + planning
        subject = replace(subject, slowness=max(1.0, planning / (time.process_time() - computed)))
    return _Measured(recipe, settings, resident, subject, text, parts, words, windows, spent)


def _problem(
    found: _Measured, recipe: Recipe, text: Division, shares: Shares, made: Json, others: Sequence[str]
) -> Json:
    """Return ``made``, a problem without model and texts, with these. ``others``: those of ``--also``."""
    from evoprune.problems.language_model.texts.settings import TextSettings

    words = found.words
    problem = {
        **(with_vocabulary(made, words) if words else made),
        "search_text": text.settings("search", shares.searched),
        "held_out_windows": text.count(shares.held_out),
        "report_text": text.settings("report", shares.report),
        "calibration_text": text.settings("calibration", shares.calibration),
        "model": found.settings.model,
        "dtype": found.resident.dtype,
    }
    if others:
        problem["second_text"] = [
            {"source": TextSettings(source=other).source, "window": text.window, "windows": shares.report}
            for other in others
        ]
    if shares.training:
        problem["recover"] = {
            **recipe.recovery(found.subject, shares.compensated),
            "time": f"{shares.training:.0f}s",
            "window": text.line or min(_TRAINED_WINDOW, text.window),
            "held_out": text.count(shares.held_out),
            "evaluations": shares.validations,
            **_recovery_text(trained_on(words, found.parts, text.windows("search"))),
        }
    return problem


def _room(found: _Measured, budget: Json, one_file: bool, compared: bool) -> float:
    """Bytes that the export needs, at least: a draft comes before a .gguf file, which may be ``compared`` with one."""
    parameters: int = found.resident.parameters
    is_gguf, halves = found.settings.model.endswith(".gguf"), 2.0 * parameters
    size = halves
    if one_file or not is_gguf:
        size = min(size, bytes_of(weight_files(found.settings)) or size)
    size *= 1.0 - float(budget.get("removed", 0.0))
    most = float(budget.get("at_most", math.inf))
    limits = {"bytes": most, "bits_per_weight": most * parameters / 8, "milliseconds": found.subject.least}
    size = min(size, limits.get(budget.get("use", ""), math.inf))
    return 2 * size + (halves if compared and not is_gguf else 0.0) if one_file else size


def _remarks(found: _Measured, recipe: Recipe, text: Division, shares: Shares, made: Json) -> Iterator[str]:
    from evoprune.problems.language_model.planning.smallest import larger_than_source

    resident, subject, model = found.resident, found.subject, found.settings.model
    if larger := larger_than_source(found.settings, resident.parameters, made):
        yield larger
    yield (
        f"{model}: {subject.prunable:,} weights in {subject.blocks} blocks, {resident.dtype} on {resident.place}, "
        f"{1 / subject.scored:,.0f} tokens/s"
    )
    yield text.remark
    trained = recipe.recovery(subject, shares.compensated)["train"] if shares.training else ""
    yield (
        f"about {max(1, round((shares.seconds + found.spent) / 60))} min: {shares.calibration} windows of "
        f"{text.window} tokens to calibrate, {shares.evaluations:.0f} evaluations of {shares.searched}, "
        f"{shares.report} for the report" + (f", {shares.training:.0f} s to train {trained}" if trained else "")
    )
    rows = resident.model.get_input_embeddings().weight.numel() / resident.parameters
    if recipe.cuts(subject) and not found.words and rows >= _MANY:
        yield (
            f"{rows:.0%} of the parameters are rows of tokens: {OPTION} TEXT, which leaves out those that a text does "
            "not need, may lose less"
        )
    if not subject.heads and "'channels'" in repr(made["problem"].get("transforms")):
        yield "attentions cannot lose heads in this model: channels of MLPs alone go"
    if cached := recipe.cached_bytes(subject):
        with suppress(OSError):  # without a folder nothing is cached
            limit = megabytes(cache_limit())
            yield f"up to {megabytes(cached)} go to the cache, which keeps {limit}: python -m evoprune cache"


def _recovery_text(part: Json) -> Json:
    """Settings that let a recovery read ``part`` of a text."""
    return {"text": part["source"]} | {key: part[key] for key in ("split", "part") if key in part}

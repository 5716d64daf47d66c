"""The command ``prune MODEL``: measures the model, divides text and time, and makes the experiment."""

import argparse
import math
import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, get_args

from evoprune import InputError, Plan, Planner
from evoprune.console.phase import Phase
from evoprune.files.cache import cache_limit
from evoprune.problems.distillation.settings import DURATION, seconds_of
from evoprune.problems.export import KvType
from evoprune.problems.gguf.sources import architecture_of, cuts_of
from evoprune.problems.planning.fits import CONTEXT, Fits
from evoprune.problems.planning.recipe import Recipe
from evoprune.problems.planning.recipes import RECIPES, Sparsity
from evoprune.problems.planning.vocabulary import OPTION, Unneeded, text_of, trained_on, with_vocabulary
from evoprune.problems.results.summary import megabytes

_LOOKED_AT = 4  # windows of a model that is given without a goal
_MANY = 0.15  # share of the parameters in rows of tokens from which fewer tokens may lose less than cuts
_TRAINED_WINDOW = 256  # tokens in a window that scales are trained on, at most
_QUICK = 60.0  # seconds, at least
_BEGINNING = 5.0  # seconds before planning: Python and its packages


class Prune(Planner):
    """Make a model smaller in one command: from a goal, a text and a time to a checked export and a report."""

    help: ClassVar[str] = "make your own model smaller, in one command"
    example: ClassVar[str] = "python -m evoprune prune bundled:gpt2-mini --remove 25% --time 5m --out smaller"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", metavar="MODEL", help="a folder, a .gguf file, a hub id, or bundled:gpt2-mini")
        goals = parser.add_argument_group("goal", "one of these")
        for goal in RECIPES:
            goals.add_argument(goal.option, metavar=goal.metavar, help=goal.help)
        parser.add_argument(
            "--context", type=int, default=CONTEXT, metavar="N", help=f"for --fits: tokens (default: {CONTEXT})"
        )
        kinds = get_args(KvType)
        parser.add_argument("--kv", choices=kinds, default=kinds[0], help="for --fits: the type of keys and values")
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

    @classmethod
    def plan(cls, options: argparse.Namespace) -> Plan | None:
        from evoprune.problems.planning.early import larger_than_source, least_bytes, refuse_files, refuse_mistakes

        recipe, seconds = _goal(options), _QUICK if options.quick else _seconds(options.time)
        refuse_mistakes(options, recipe)
        base = _base(options.base)
        one_file = recipe is None or (options.out is not None and options.out.suffix == ".gguf")
        if one_file:
            architecture_of(options.model, base)  # raises an error for a model that cannot be written
        memory: dict[str, Any] = {}
        remarks = []
        if isinstance(recipe, Fits):
            memory = {"context": options.context, "kv": options.kv, "fits": int(recipe.value)}
            recipe, taken = recipe.beside_context(options.model, base, options.context, options.kv)
            remarks.append(taken)
        refuse_files(options, recipe)

        from evoprune.problems.gguf.base import find_base
        from evoprune.problems.models.resident import Resident
        from evoprune.problems.planning.at_all import model_settings
        from evoprune.problems.planning.division import divide, divide_lines, parts_of
        from evoprune.problems.planning.plan import SEARCHED, longest, measure_subject, share_out
        from evoprune.problems.texts.settings import TextSettings
        from evoprune.problems.texts.windows import cut_windows

        given = options.task or options.text or options.vocabulary
        parts = parts_of(given)
        words = text_of(options.vocabulary, given, parts) if options.vocabulary else None
        settings = model_settings(options.model, math.inf if options.quick else seconds)
        begun, computed = time.perf_counter(), time.process_time()
        with Phase(f"loading {options.model}"):
            resident = Resident.load(settings)
        loading = time.perf_counter() - begun
        if one_file:
            find_base(resident, base)  # raises an error if nothing says what the file holds beside the weights
        with Phase("measuring the model"):
            divided = divide_lines if options.task else divide
            text = divided(given, parts, resident.tokenizer, longest(resident))
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
        if recipe is None:
            from evoprune.problems.planning.overview import overview

            for line in overview(options.model, resident, subject, text, windows.tokens[:_LOOKED_AT], given):
                print(line)
            return None
        recipe, text, shares = share_out(recipe, subject, text, seconds - spent, options.quick)
        made, searched = recipe.experiment(subject, shares.evaluations), text.settings("search", shares.searched)
        problem = {
            **(with_vocabulary(made["problem"], words) if words else made["problem"]),
            "search_text": searched,
            "held_out_windows": text.count(shares.held_out),
            "report_text": text.settings("report", shares.report),
            "calibration_text": text.settings("calibration", shares.calibration),
            "model": settings.model,
            "dtype": resident.dtype,
        }
        if options.also:
            problem["second_text"] = [
                {"source": TextSettings(source=also).source, "window": text.window, "windows": shares.report}
                for also in options.also
            ]
        if shares.training:
            problem["recover"] = {
                **recipe.recovery(subject, shares.compensated),
                "time": f"{shares.training:.0f}s",
                "window": text.line or min(_TRAINED_WINDOW, text.window),
                "held_out": text.count(shares.held_out),
                "evaluations": shares.validations,
                **_recovery_text(trained_on(words, parts, text.windows("search"))),
            }
        budget = round(shares.evaluations * searched["windows"] * searched["window"])
        remarks += [
            f"{options.model}: {subject.prunable:,} weights in {subject.blocks} blocks, {resident.dtype} on "
            f"{resident.place}, {1 / subject.scored:,.0f} tokens/s",
            text.remark,
            f"about {max(1, round((shares.seconds + spent) / 60))} min: {shares.calibration} windows of "
            f"{text.window} tokens to calibrate, {shares.evaluations:.0f} evaluations of {shares.searched}, "
            f"{shares.report} for the report"
            + (f", {shares.training:.0f} s to train {problem['recover']['train']}" if shares.training else ""),
        ]
        if larger := larger_than_source(settings, resident.parameters, made):
            remarks.insert(0, larger)
        rows = resident.model.get_input_embeddings().weight.numel() / resident.parameters
        if recipe.cuts(subject) and not words and rows >= _MANY:
            remarks.append(
                f"{rows:.0%} of the parameters are rows of tokens: {OPTION} TEXT, which leaves out those that a text "
                "does not need, may lose less"
            )
        if not subject.heads and "'channels'" in repr(problem.get("transforms")):
            remarks.append("attentions cannot lose heads in this model: channels of MLPs alone go")
        if cached := recipe.cached_bytes(subject):
            with suppress(OSError):  # without a folder nothing is cached
                limit = megabytes(cache_limit())
                remarks.append(
                    f"up to {megabytes(cached)} go to the cache, which keeps {limit}: python -m evoprune cache"
                )
        experiment = made | {"problem": problem, "budget": budget, "seed": options.seed}
        name = Path(settings.model).stem.replace("bundled:", "")
        resident.keep_for_run()
        left = shares.seconds - shares.exporting
        export = memory | ({"base": base} if base else {}) | ({} if shares.compared else {"untimed": True})
        ends = (left, shares.searching) if shares.exporting else ()
        return Plan(experiment, name, remarks, export, *ends)


def _recovery_text(part: dict[str, Any]) -> dict[str, Any]:
    """Settings that let a recovery read ``part`` of a text."""
    return {"text": part["source"]} | {key: part[key] for key in ("split", "part") if key in part}


def _base(given: str | None) -> str | None:
    if given is None:
        return None
    path = Path(given).expanduser()
    if not path.is_file():
        raise InputError(f"no such file: {given}", "--base")
    return str(path.resolve())


def _goal(options: argparse.Namespace) -> Recipe | None:
    asked = {goal: getattr(options, goal.option.removeprefix("--")) for goal in RECIPES}
    given = {goal: text for goal, text in asked.items() if text is not None}
    if not given:
        return Unneeded() if options.vocabulary else None
    if len(given) != 1:
        raise InputError(f"expected one goal, got {' and '.join(goal.option for goal in given)}", "prune")
    ((goal, text),) = given.items()
    if options.vocabulary and goal is Sparsity:
        raise InputError(f"zeros keep their room, so that {OPTION} is for another goal", goal.option)
    return goal(goal.read(text))


def _seconds(text: str) -> float:
    seconds = seconds_of(text.strip()) if re.match(DURATION, text.strip()) else 0.0
    if not seconds:
        raise InputError(f"expected a time such as 90s, 20m or 2h, got '{text}'", "--time")
    return seconds

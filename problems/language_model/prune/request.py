"""The command line of ``prune``, checked before anything is loaded: one refusal for each mistake. Imports no torch.

The engine checks the places of run and export (:mod:`evoprune.files.places`) and the devices.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from evoprune import InputError
from evoprune.experiment.explain import validated
from evoprune.experiment.spec import SEEDS
from evoprune.exports.exporting import is_one_file
from evoprune.problems.language_model.distillation.settings import DURATION, seconds_of
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.recipe import TensorTypes, read_importance
from evoprune.problems.language_model.gguf.sources import architecture_of
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault, short_name
from evoprune.problems.language_model.models.weight_files import stored_tensors, weight_files
from evoprune.problems.language_model.parts import Export
from evoprune.problems.language_model.prune.goals import GOALS, Bits, Fits, Goal, Recipe, Size, Sparsity, Unneeded
from evoprune.problems.language_model.prune.reach import refuse_size
from evoprune.problems.language_model.prune.template import Json
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import KINDS, is_task, task_fault

Value = TypeVar("Value")

_QUICK, _LONGEST = 60.0, 3.6e7  # seconds
_SUFFIX = ".gguf"


@dataclass
class Clock:
    """Looks at the time between doublings of a phase; nothing is forecast but the next one, from the one before.

    ``seconds``: from its making to the deadline.
    """

    seconds: float
    _begun: float = field(default_factory=lambda: time.monotonic())

    @property
    def left(self) -> float:
        """Seconds to the deadline; below 0 after it."""
        return self.seconds - (time.monotonic() - self._begun)

    def doubled(self, share: float, values: Sequence[Value], work: Callable[[Value], object]) -> Value:
        """Do ``work`` on the first of ``values``, and on each next one while it fits into ``share`` of the time.

        Each value is to take about twice as long as the one before. Return the last one that was worked on.
        """
        end = time.monotonic() + share * self.seconds
        for value in values[:-1]:
            begun = time.monotonic()
            work(value)
            now = time.monotonic()
            if now + 2 * (now - begun) > end:
                return value
        work(values[-1])
        return values[-1]


@dataclass(frozen=True)
class Request:
    """A command line of ``prune`` in which no mistake was found.

    ``name``: of the model, in short. ``goal``: None for an overview. ``base``: another .gguf file of the model.
    ``out``: path of the export, if any. ``one_file``: whether the result is, or may be, a .gguf file. ``memory``:
    options of the export, for the goal ``--fits``. ``remarks``: lines for the user. ``clock``: of the time it has.
    """

    name: str
    goal: Goal | None
    base: str | None
    out: Path | None
    one_file: bool
    memory: Json
    remarks: Sequence[str]
    clock: Clock


def checked(options: argparse.Namespace) -> Request:
    """Return the request in ``options``. Raises :class:`evoprune.InputError` for the first mistake."""
    goal, stem = _goal(options)
    told = options.time.strip()
    seconds = _QUICK if options.quick else seconds_of(told) if re.match(DURATION, told) else 0.0
    settings = validated(ModelSettings, {"model": options.model}, "MODEL")
    base = options.base and validated(ModelSettings, {"model": options.base}, "--base").model
    name, remarks, out = short_name(settings.model).removesuffix(_SUFFIX), [], options.out
    if out is None and goal is not None and settings.model.endswith(_SUFFIX):
        out = Path(f"{name}-{stem}{_SUFFIX}")
        remarks.append(f"the result goes to {out} (--out changes it)")
    exports_file = out is not None and is_one_file(Export, out)
    one_file = goal is None or (out is not None and out.suffix == _SUFFIX)
    for option, fault in _faults(options, goal, seconds, settings, base, exports_file):
        if fault:
            raise InputError(str(fault), option)
    for path in weight_files(settings):
        stored_tensors(path)  # raises an error for a file that is not whole
    if one_file:
        architecture_of(settings.model, base)  # raises an error for a model that cannot be written
    if isinstance(goal, Recipe):
        TensorTypes(Path(goal.file))  # these raise errors for files that are none
    if options.imatrix:
        read_importance(Path(options.imatrix))
    memory: Json = {}
    if isinstance(goal, Fits):
        context, kv = options.context or Fits.CONTEXT, options.kv or Fits.CACHES[0]
        memory = {"context": context, "kv": kv, "fits": int(goal.value)}
        goal, taken = goal.beside_context(settings.model, base, context, kv)
        remarks.append(taken)
    if isinstance(goal, Size) and not options.vocabulary:
        refuse_size(goal, settings, exports_file)
    return Request(name, goal, base, out, one_file, memory, remarks, Clock(seconds))


def _goal(options: argparse.Namespace) -> tuple[Goal | None, str]:
    """Return the goal in ``options``, and a part of a file's name for it, such as ``75MB`` or ``remove-25``."""
    asked = {goal: getattr(options, goal.name()) for goal in GOALS}
    given = {goal: text for goal, text in asked.items() if text is not None}
    if not given:
        return (Unneeded() if options.vocabulary else None), "vocabulary"
    if len(given) != 1:
        raise InputError(f"expected one goal, got {' and '.join(goal.option for goal in given)}", "prune")
    ((goal, text),) = given.items()
    if goal is Recipe:
        return Recipe(file=text), goal.name()
    named = re.sub(r"[\s%]", "", text)
    return goal(goal.read(text)), named if goal is Size else f"{goal.name()}-{named}"


def _faults(
    options: argparse.Namespace, goal: Goal | None, seconds: float, settings: ModelSettings, base: str | None,
    exports_file: bool,
) -> Iterator[tuple[str, object]]:  # fmt: skip
    """Yield options, and their faults where they have some."""
    in_time, for_file, of_memory = 0 < seconds <= _LONGEST, "is for --out FILE.gguf", f"is for {Fits.option} MEMORY"
    fits, context = isinstance(goal, Fits), options.context
    yield "--time", not in_time and f"expected a time such as 90s, 20m or 2h, got '{options.time}'"
    yield "--base", base and not exports_file and for_file
    yield "--imatrix", options.imatrix and not exports_file and for_file
    yield goal.option if goal else "", isinstance(goal, Bits | Fits | Recipe) and not exports_file and for_file
    yield "--context", context is not None and ((context < 1 and "expected 1 or more") or (not fits and of_memory))
    yield "--kv", options.kv is not None and not fits and of_memory
    yield "--seed", not 0 <= options.seed < SEEDS and f"expected a number between 0 and {SEEDS - 1}"
    words, task, option = options.vocabulary, options.task, Unneeded.option
    keeps_all = isinstance(goal, Sparsity | Recipe) and words
    yield goal.option if goal else "", keeps_all and f"keeps all tokens: leave out {option}"
    yield option, task and words and "the answers of --task need all tokens: give one of both"
    texts = [
        ("--text", options.text),
        ("--task", task),
        (option, words),
        *(("--also", one) for one in options.also or ()),
    ]
    yield from ((option, _text_fault(text, option)) for option, text in texts if text is not None)
    yield "MODEL", model_fault(settings.model)
    yield "--base", base and not Path(base).is_file() and f"no such file: {base}"
    yield str(options.out), exports_file and ggml.missing()
    absent = [path.name for path in weight_files(settings) if not path.is_file()]
    yield settings.model, absent and f"lacks {', '.join(absent)}; copy or download the model again"


def _text_fault(text: str, option: str) -> str | None:
    settings = validated(TextSettings, {"source": text}, option)
    if fault := text_fault(settings):
        return fault
    if not settings.is_local:
        return None if settings.is_bundled else f"{text}: no such file; expected a .txt, .jsonl or .parquet file"
    if option == "--task":
        lines = f"expected a .jsonl file with {', or '.join(KINDS.values())}"
        return task_fault(settings) if is_task(settings) else f"{text}: {lines}"
    return f"{text} is a task file: expected it after --task" if option == "--text" and is_task(settings) else None

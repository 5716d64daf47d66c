"""The command line of ``prune``, checked before anything is loaded: one refusal for each mistake. Imports no torch.

The engine checks the places of run and export (:mod:`evoprune.files.places`) and the devices.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from evoprune.problems.language_model.prune.clock import Clock
from evoprune.problems.language_model.prune.fits import CONTEXT, KINDS_OF_CACHE, Fits
from evoprune.problems.language_model.prune.goals import Bits, Goal, Recipe, Remove, Size, Sparsity, Speedup, Unneeded
from evoprune.problems.language_model.prune.reach import refuse_size
from evoprune.problems.language_model.prune.template import Json
from evoprune.problems.language_model.prune.vocabulary import OPTION
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import KINDS, is_task, task_fault

GOALS: tuple[type[Goal], ...] = (Remove, Size, Bits, Fits, Recipe, Sparsity, Speedup)

_QUICK, _LONGEST = 60.0, 3.6e7  # seconds
_SUFFIX = ".gguf"


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
    time = options.time.strip()
    seconds = _QUICK if options.quick else seconds_of(time) if re.match(DURATION, time) else 0.0
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
        context, kv = options.context or CONTEXT, options.kv or KINDS_OF_CACHE[0]
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
    keeps_all = isinstance(goal, Sparsity | Recipe) and options.vocabulary
    yield goal.option if goal else "", keeps_all and f"keeps all tokens: leave out {OPTION}"
    yield OPTION, options.task and options.vocabulary and "the answers of --task need all tokens: give one of both"
    texts = {"--text": [options.text], "--task": [options.task], OPTION: [options.vocabulary], "--also": options.also}
    for option, given in texts.items():
        for text in (text for text in given or () if text is not None):
            yield option, _text_fault(text, option)
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

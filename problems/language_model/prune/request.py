"""The command line of ``prune``, checked before anything is loaded: one refusal for each mistake. Imports no torch.

Options, packages, texts, the model, and the headers of its files, in this order. The engine checks the places of run
and export (:mod:`evoprune.files.places`) and the devices.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from evoprune import InputError
from evoprune.experiment.explain import validated
from evoprune.experiment.spec import SEEDS
from evoprune.exports.exporting import is_one_file
from evoprune.problems.language_model.distillation.settings import DURATION, seconds_of
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import ONE_WIDTH_IN_ALL, architecture_of, cuts_of
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault, short_name
from evoprune.problems.language_model.models.weight_files import stored_tensors, weight_files
from evoprune.problems.language_model.parts import Export
from evoprune.problems.language_model.prune.clock import Clock
from evoprune.problems.language_model.prune.fits import CONTEXT, KINDS_OF_CACHE, Fits
from evoprune.problems.language_model.prune.goals import Bits, Goal, Remove, Size, Sparsity, Speedup, Unneeded
from evoprune.problems.language_model.prune.reach import refuse_size
from evoprune.problems.language_model.prune.template import Json
from evoprune.problems.language_model.prune.vocabulary import OPTION
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import KINDS, is_task, task_fault

GOALS: tuple[type[Goal], ...] = (Remove, Size, Bits, Fits, Sparsity, Speedup)

_LEAST_TEXT = 10_000  # bytes: no text with fewer has the tokens of all windows, as 2 bytes a token are rare
_PATIENCE = 5.0  # seconds for the hub's answer
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
    clock = Clock(_QUICK if options.quick else _seconds(options.time))
    settings, base = _model(options.model, "MODEL"), options.base and _model(options.base, "--base").model
    name, remarks = short_name(settings.model).removesuffix(_SUFFIX), []
    out = options.out
    if out is None and goal is not None and settings.model.endswith(_SUFFIX):
        out = Path(f"{name}-{stem}{_SUFFIX}")
        remarks.append(f"the result goes to {out} (--out changes it)")
    exports_file = out is not None and is_one_file(Export, out)
    _refuse_options(options, goal, exports_file)
    _refuse_texts(options)
    _refuse_missing(settings, base, out if exports_file else None)
    one_file = goal is None or (out is not None and out.suffix == _SUFFIX)
    if one_file:
        architecture_of(settings.model, base)  # raises an error for a model that cannot be written
    memory: Json = {}
    if isinstance(goal, Fits):
        context, kv = options.context or CONTEXT, options.kv or KINDS_OF_CACHE[0]
        memory = {"context": context, "kv": kv, "fits": int(goal.value)}
        goal, taken = goal.beside_context(settings.model, base, context, kv)
        remarks.append(taken)
    for path in weight_files(settings):
        stored_tensors(path)  # raises an error for a file that is not whole
    if isinstance(goal, Size) and not options.vocabulary:
        whole = exports_file and cuts_of(settings.model, base) == ONE_WIDTH_IN_ALL
        refuse_size(goal, settings, exports_file, whole)
    return Request(name, goal, base, out, one_file, memory, remarks, clock)


def _goal(options: argparse.Namespace) -> tuple[Goal | None, str]:
    """Return the goal in ``options``, and a part of a file's name for it, such as ``75MB`` or ``remove-25``."""
    asked = {goal: getattr(options, goal.option.removeprefix("--")) for goal in GOALS}
    given = {goal: text for goal, text in asked.items() if text is not None}
    if not given:
        return (Unneeded() if options.vocabulary else None), "vocabulary"
    if len(given) != 1:
        raise InputError(f"expected one goal, got {' and '.join(goal.option for goal in given)}", "prune")
    ((goal, text),) = given.items()
    if options.vocabulary and goal is Sparsity:
        raise InputError(f"zeros keep their room, so that {OPTION} is for another goal", goal.option)
    named = re.sub(r"[\s%]", "", text)
    return goal(goal.read(text)), named if goal is Size else f"{goal.option.removeprefix('--')}-{named}"


def _seconds(text: str) -> float:
    seconds = seconds_of(text.strip()) if re.match(DURATION, text.strip()) else 0.0
    if not 0 < seconds <= _LONGEST:
        raise InputError(
            f"expected a time such as 90s, 20m or 2h, of at most {_LONGEST / 3600:,.0f}h, got '{text}'", "--time"
        )
    return seconds


def _model(given: str, option: str) -> ModelSettings:
    return validated(ModelSettings, {"model": given}, option)


def _refuse_options(options: argparse.Namespace, goal: Goal | None, exports_file: bool) -> None:
    if options.base and not exports_file:
        raise InputError("is for --out FILE.gguf", "--base")
    if isinstance(goal, Bits | Fits) and not exports_file:
        raise InputError("is for --out FILE.gguf", goal.option)
    for option, value in {"--context": options.context, "--kv": options.kv}.items():
        if value is not None and not isinstance(goal, Fits):
            raise InputError(f"is for {Fits.option} {Fits.metavar}", option)
    if options.context is not None and options.context < 1:
        raise InputError(f"expected 1 or more, got {options.context}", "--context")
    if not 0 <= options.seed < SEEDS:
        raise InputError(f"expected a number between 0 and {SEEDS - 1}, got {options.seed}", "--seed")


def _refuse_texts(options: argparse.Namespace) -> None:
    _refuse_text(options.text, "--text", _LEAST_TEXT)
    _refuse_text(options.vocabulary, OPTION, 1)
    for also in options.also or ():
        _refuse_text(also, "--also", 1)
    _refuse_task(options)


def _refuse_missing(settings: ModelSettings, base: str | None, file: Path | None) -> None:
    """Raise InputError for files and packages that are missing. ``file``: the .gguf file to write, if any."""
    if fault := model_fault(settings.model):
        raise InputError(fault, "MODEL")
    if base and not Path(base).is_file():
        raise InputError(f"no such file: {base}", "--base")
    for path in (settings.model, base or ""):
        if path.endswith(_SUFFIX) and not (find_spec("gguf") and find_spec("accelerate")):
            raise InputError("reading it needs more packages; pip install 'evoprune[gguf]'", path)
    if file and (lacking := ggml.missing()):
        raise InputError(lacking, str(file))
    files = weight_files(settings)
    if not files:
        _refuse_unless_on_hub(settings.model)
    if absent := [path.name for path in files if not path.is_file()]:
        raise InputError(f"lacks {', '.join(absent)}; copy or download the model again", settings.model)


def _refuse_text(text: str | None, option: str, least: int) -> None:
    if text is None:
        return
    try:
        settings = TextSettings(source=text)
    except ValueError:
        raise InputError("cannot be read", option) from None
    if fault := text_fault(settings):
        raise InputError(fault, option)
    if settings.is_bundled:
        return
    if not settings.is_local:
        raise InputError(f"{text}: no such file; expected a .txt, .jsonl or .parquet file", option)
    size = Path(text).stat().st_size
    if size < least and Path(text).suffix != ".parquet":  # which is compressed
        raise InputError(
            f"{text} has {size:,} bytes; expected about {max(1, least // 500)} kB of English, or more", option
        )


def _refuse_task(options: argparse.Namespace) -> None:
    if options.text and is_task(TextSettings(source=options.text)):
        raise InputError(f"{options.text} is a task file: expected it after --task", "--text")
    if options.task is None:
        return
    _refuse_text(options.task, "--task", 1)
    settings = TextSettings(source=options.task)
    if not is_task(settings):
        raise InputError(f"{options.task}: expected a .jsonl file with {', or '.join(KINDS.values())}", "--task")
    if fault := task_fault(settings):
        raise InputError(fault, "--task")
    if options.vocabulary:
        raise InputError("the answers of --task are scored in all tokens: give one of both", OPTION)


def _refuse_unless_on_hub(name: str) -> None:
    """Raise InputError unless the hub has the model ``name`` and says so in time."""
    import huggingface_hub  # slow to import
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    def ask() -> None:
        try:
            huggingface_hub.HfApi().model_info(name, timeout=_PATIENCE)
        except Exception as error:  # of HTTP, of the network, of the hub's rules
            faults[:] = [error]
        else:
            faults.clear()

    faults: list[Exception] = [TimeoutError(f"no answer in {_PATIENCE:.0f} s")]
    asking = Thread(target=ask, daemon=True)  # resolving a name has no time limit of its own
    asking.start()
    asking.join(_PATIENCE)
    if not (found := list(faults)):
        return
    if isinstance(found[0], RepositoryNotFoundError | ValueError):  # not there, or no name for it
        why = "no such folder or file, and no such model on the hub"
    elif isinstance(found[0], OfflineModeIsEnabled):
        why = "no such folder or file, nor in the hub's cache, and HF_HUB_OFFLINE is set"
    else:
        reason = next((line for line in str(found[0]).splitlines() if line.strip()), type(found[0]).__name__)
        why = f"no such folder or file, nor in the hub's cache, and the hub cannot be reached ({reason})"
    raise InputError(f"{why}; give a folder or a .gguf file", name)

"""Several models at one size, ``prune A.gguf B.gguf --size 400MB``: each is made, and all are scored on one text.

Texts are compared by bytes, as tokenizers differ. Imports no torch.
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from evoprune import InputError, Stopped
from evoprune.plugins import (
    FACTS,
    Progress,
    aligned,
    digits,
    metadata_path,
    note,
    plugin_names,
    read_json,
    refuse_unless_free,
)
from evoprune.problems.language_model.models.settings import model_fault, short_name
from evoprune.problems.language_model.prune.interfaces import OUTPUTS
from evoprune.problems.language_model.texts.division import parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text

_OF_ONE = ("name", "print_config", "task", "base", "imatrix")  # options for one model alone
_SCORING = 0.15  # share of the time to score sources and files
_PIECE, _CONTEXT = 2048, 1 / 8  # characters that are read at a time; share of these that is not scored
_LEAST, _MOST = 4, 64  # pieces
_WORD_END = re.compile(r"(?<=\w)(?=\s)")
_NEAR = 64  # characters by which a piece may end later

Pieces = Sequence[tuple[str, str]]


class Siblings:
    """The models of a command line; ``call_of``: makes the :class:`.command.Sibling` of the options of one."""

    def __init__(self, options: Namespace, call_of: Callable[[Namespace], Any]) -> None:
        """Raise InputError for the first fault of any model."""
        for name in _OF_ONE:
            if getattr(options, name, None):
                raise InputError("is for one model", f"--{name.replace('_', '-')}")
        if options.size is None:
            raise InputError("several models are compared at one size: give --size", "prune")
        suffixes = plugin_names(OUTPUTS)
        for model in options.model:
            if Path(model).suffix[1:] not in suffixes:
                raise InputError(model_fault(model) or "expected .gguf files where several models are given", model)
        folder = options.out or Path()
        if folder.suffix[1:] in suffixes:
            raise InputError("expected a folder where several models are given", f"--out {folder}")
        self.options, self.failed = options, dict[str, str]()
        self.calls = [call_of(Namespace(**vars(options) | {"model": [each], "out": None})) for each in options.model]
        for call in self.calls:
            call.out = folder / str(call.out)
        if len({call.out for call in self.calls}) < len(self.calls):
            raise InputError("two models have the same file name, and so would their results: rename one", "MODEL")
        self.made = {call.model: call.source for call in self.calls if call.as_it_is}
        for call in self.calls:
            if call.out and not call.as_it_is:
                refuse_unless_free(call.out, is_file=True)

    def compare(self) -> None:
        """Make the files, and print the table. Raises Stopped where a file is missing."""
        try:
            self._make_all()
            calls = [call for call in self.calls if call.model in self.made]
            if calls:
                self._print(calls)
        except KeyboardInterrupt:
            arguments = [str(self.made.get(each, each)) for each in self.options.arguments]
            again = shlex.join(["python", "-m", "evoprune", *arguments])
            raise Stopped(f"interrupted; finished files are kept, and take part in: {again}") from None
        if self.failed:
            faults = "; ".join(f"{model} was not made: {fault}" for model, fault in self.failed.items())
            raise Stopped(faults) if calls else InputError(faults, "prune")

    def _make_all(self) -> None:
        """Make each file in its share of the time: in proportion to the parameters, as work is."""
        from evoprune.problems.language_model.prune.looking import model_settings  # which imports torch

        calls = [call for call in self.calls if not call.as_it_is]
        whole, times = sum(call.headers.weights for call in calls), dict[str, float]()
        for call in calls:
            seconds = (1 - _SCORING) * call.asked.seconds * call.headers.weights / whole
            times[call.model] = max(1.0, round(seconds))
            limit = math.inf if call.asked.quick else seconds
            model_settings(call.headers, limit, self.options.devices.split(",")[0])
        for call in calls:
            note(f"{call.model}: {times[call.model]:.0f} s of the time, in proportion to its parameters")
            if fault := self._make(call, times[call.model]):
                self.failed[call.model] = fault
            else:
                self.made[call.model] = call.candidate

    def _make(self, call: Any, seconds: float) -> str:
        """Make the file of ``call`` in a process of its own; return the fault if it fails."""
        from evoprune.problems.language_model.models.device import environment

        others = [each for each in self.options.arguments[1:] if each not in {*self.options.model, "--"}]
        time = [] if call.asked.quick else ["--time", f"{seconds:.0f}s"]
        command = ["-m", "evoprune", "prune", call.model, *others, *time, "--out", str(call.out)]  # the last one counts
        last, pipe = "", subprocess.PIPE
        with (
            Progress(f"making {call.out}") as progress,
            subprocess.Popen([sys.executable, *command], stderr=pipe, text=True, env=environment()) as process,
        ):
            try:
                for last in process.stderr or ():
                    progress.note(last.rstrip())
                code = process.wait()
            except KeyboardInterrupt:
                process.terminate()
                progress.note("".join(process.stderr or ()).rstrip())  # how to continue it
                raise
        return (last.strip().removeprefix("evoprune: ") or f"exit code {code}") if code else ""

    def _print(self, calls: Sequence[Any]) -> None:
        asked = calls[0].asked
        part = TextSettings(**parts_of(asked.main_text[1])["report"])
        with Progress("scoring the files"):
            pieces, losses = _scored(calls, load_text(part, "text"))
        size = sum(len(text.encode()) for _, text in pieces)
        bits = {file: sum(each) / math.log(2) / size for file, each in losses.items()}
        rows = [["file", "bytes", "source, bits per byte", "bits per byte", "tokens/s"]]
        for call in calls:
            name, file = call.candidate.name, call.candidate
            scores = (f"{bits[each]:.4f}" for each in (call.source, file))
            rows.append([f"{name}, as it is" if call.as_it_is else name, f"{file.stat().st_size:,}", *scores])
            rows[-1].append("-" if call.as_it_is else _speed(file))
        print(*aligned(rows), sep="\n")
        best, *others = sorted((call.candidate for call in calls), key=bits.__getitem__)
        text = f"{size:,} bytes of {short_name(part.source)} that no search has read"
        print(f"best at {self.options.size}: {best.name}, {bits[best]:.4f} bits per byte on {text}", end="")
        print(f"; {_gap(losses, best, others[0], size)}" if others else "")


def _scored(calls: Sequence[Any], text: str) -> tuple[Pieces, Mapping[Path, Sequence[float]]]:
    """Return pieces of ``text``, as many as there is time for, and the losses of each source and file, in nats."""
    files = {file: call for call in calls for file in (call.source, call.candidate)}
    before = calls[0].left
    for file, call in files.items():
        call.output.losses(file, cut(text, 1))
    seconds, left = before - calls[0].left, max(_SCORING * calls[0].asked.seconds, calls[0].left)
    pieces = cut(text, min(_MOST, max(_LEAST, int(left / seconds))))
    return pieces, {file: call.output.losses(file, pieces) for file, call in files.items()}


def cut(text: str, count: int) -> Pieces:
    """Return ``count`` pieces of ``text``, spread evenly, fewer of a short one: a context, and the text to score.

    Both end with a word, as tokens do.
    """
    size = min(_PIECE, len(text))
    count = min(count, len(text) // size)
    begins = [len(text) * number // count for number in range(count)]
    ends = [(begin, _end(text, begin + round(_CONTEXT * size)), _end(text, begin + size)) for begin in begins]
    return [(text[begin:middle], text[middle:end]) for begin, middle, end in ends]


def _end(text: str, place: int) -> int:
    found = _WORD_END.search(text, place, place + _NEAR)
    return found.start() if found else place


def _gap(losses: Mapping[Path, Sequence[float]], best: Path, second: Path, size: int) -> str:
    """Return the loss of ``best`` below that of ``second`` in bits per byte, with its standard error, in words."""
    gaps = [(other - own) / math.log(2) for own, other in zip(losses[best], losses[second], strict=True)]
    error = math.sqrt(len(gaps)) * stdev(gaps) / size if len(gaps) > 1 else math.inf
    unsure = "" if sum(gaps) > 2 * error * size else ", which may be chance"
    return f"{sum(gaps) / size:.4f} ± {digits(error, 2)} below {second.name}{unsure}"


def _speed(file: Path) -> str:
    """Return the tokens/s of generation that the export measured; a dash if it did not."""
    timed = read_json(metadata_path(file, FACTS, is_file=True)).get("runtime")
    return digits(timed["decode"]["evolved"], 3) if timed else "-"

"""Reads the recorded part of a run from its folder, which may come from anywhere and is checked."""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

from evoprune.console.errors import InputError, cut_repr
from evoprune.experiment.explain import validated
from evoprune.experiment.resolve import Resolved, resolve_at
from evoprune.files.json_files import opened, read_json
from evoprune.interfaces.problem import Evaluation, worst
from evoprune.interfaces.result import Result
from evoprune.interfaces.space import Space, frozen
from evoprune.records.history import Line, is_generation
from evoprune.records.run_folder import AHEAD, CONFIG, ENVIRONMENT, HISTORY, RESULT, has_experiment

R = TypeVar("R", bound=Result)
Genome = tuple[Any, ...]
Key = tuple[Genome, float, int]
"""A genome, the share of the data that it is scored on, and the sample, 0 where there is no noise."""

_LONGEST_LINE = 2**26  # bytes; a line of ours would need millions of genes to be longer
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_NotNegative = Annotated[float, Field(ge=0.0)]


class _Strict(BaseModel):
    """Base of lines: numbers are finite and no strings; most lines refuse unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Score(_Strict):
    genome: list[Any]
    fitness: list[float | None]
    work: _NotNegative
    measures: dict[str, Any] = {}
    violation: _NotNegative = 0.0
    failure: str | None = None
    worker: str = ""
    seconds: _NotNegative


class _Reference(_Score):
    reference: str
    sample: _Count = 0


class _Request(_Strict):
    candidate: _Count
    generation: _Count
    parents: list[_Count]
    genome: list[Any]
    memo: bool
    fidelity: Annotated[float, Field(gt=0, le=1)] = 1.0
    probe: bool = False
    sample: _Count = 0


class _Candidate(_Request, _Score):
    pass


class _Finalist(_Score):
    finalist: _Count | str
    sample: _Count = 0


class _Generation(_Strict, extra="ignore"):
    """The keys that are read from a generation's line; a resumed run compares the whole line with its own."""

    generation: _Count
    seconds: _NotNegative
    best: float | None = None


_KINDS: dict[str, type[BaseModel]] = {"reference": _Reference, "candidate": _Candidate, "finalist": _Finalist}


@dataclass
class RecordedRun:
    """The recorded lines, and the scores in them. ``seconds``: of the search, to its last whole generation."""

    lines: list[Line] = field(default_factory=list)
    candidates: dict[Key, Evaluation] = field(default_factory=dict)
    references: dict[Key, Evaluation] = field(default_factory=dict)
    finalists: dict[Key, Evaluation] = field(default_factory=dict)
    generation: int = -1
    seconds: float = 0.0


def read(folder: Path, signs: tuple[float, ...], space: Space | None = None) -> RecordedRun:
    """Read the records of the run in ``folder``, without a broken last line. ``signs``: of the objectives.

    ``space``: refuses impossible genomes; without it they are not checked.
    """
    recorded = RecordedRun()
    for number, line in enumerate(lines(folder / HISTORY), 1):
        recorded.lines.append(line)
        if is_generation(line):
            recorded.generation, recorded.seconds = line["generation"], line["seconds"]
        else:
            _learn(recorded, line, signs, space, f"{folder / HISTORY}: line {number}")
    _learn_ahead(recorded, folder, signs, space)
    return recorded


def ahead(folder: Path, signs: tuple[float, ...], space: Space) -> dict[Key, Evaluation]:
    """Return the scores of candidates in ``folder`` that arrived before their turn."""
    recorded = RecordedRun()
    _learn_ahead(recorded, folder, signs, space)
    return recorded.candidates


def _learn_ahead(recorded: RecordedRun, folder: Path, signs: tuple[float, ...], space: Space | None) -> None:
    path = folder / AHEAD
    for number, line in enumerate(lines(path), 1):
        if "fitness" not in line:
            raise InputError("expected lines with a fitness alone", str(path))
        _learn(recorded, line, signs, space, f"{path}: line {number}")


def read_result(folder: Path, kind: type[R], history: Iterable[Line] | None = None) -> R:
    """Return the result of the finished run in ``folder``. ``kind``: its problem's ``Result``.

    Raises :class:`InputError` if it is not that of the ``history``, the lines that ``folder`` holds.
    """
    path = folder / RESULT
    result = validated(kind, read_json(path, "the folder of a run") | {"folder": folder}, str(path))
    best, evaluations, found = result.best, 0, False
    for line in lines(folder / HISTORY) if history is None else history:
        evaluations += not line["memo"] if "candidate" in line else {"finalist", "sample"} <= line.keys()
        if "sample" in line:  # the best is a mean
            found |= "finalist" in line and line["genome"] == best.genome
            continue
        same = not is_generation(line) and line.get("candidate") == best.candidate
        found |= same and (line["genome"], line["fitness"]) == (best.genome, best.fitness)
    if not found or evaluations != result.evaluations:
        fault = f"has {evaluations} evaluations, not {result.evaluations}" if found else "lacks its best candidate"
        raise InputError(f"belongs to another run: {HISTORY} {fault}; put back the file that was replaced", str(path))
    return result


def cut_broken_end(folder: Path) -> Iterator[str]:
    """Cut the history, and the scores ahead of it, after their last sound line; yield a note for each that was cut."""
    for path in (folder / HISTORY, folder / AHEAD):
        if path.exists():
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # other processes may score for this run
                sound = b"".join(raw for raw, _ in _sound(path))
                if len(sound) < path.stat().st_size:
                    yield f"{path}: the last line was cut short and is dropped"
                file.truncate(len(sound))
                if sound and not sound.endswith(b"\n"):
                    file.seek(0, os.SEEK_END)
                    file.write(b"\n")


def lines(path: Path, whole: bool = False) -> Iterator[Line]:
    """Yield the checked lines in ``path``, if any; omit a broken last line, or with ``whole`` refuse it."""
    return (line for _, line in _sound(path, whole))


def read_requests(path: Path) -> list[Line]:
    """The lines in ``path`` of candidates that wait for a score; none if it is missing."""
    try:
        with opened(path) as file:
            requests: list[Line] = [orjson.loads(raw) for raw in file]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise InputError(f"holds a line that is not JSON ({error})", str(path)) from None
    for line in requests:
        validated(_Request, line, str(path))
    return requests


def _sound(path: Path, whole: bool = False) -> Iterator[tuple[bytes, Line]]:
    """Yield each line, raw and parsed; omit a broken or incomplete last line, or with ``whole`` refuse it."""
    try:
        file = opened(path)
    except FileNotFoundError:  # as the scores ahead of their turn, when all had it
        return
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path)) from None
    with file:
        number = 0
        while raw := file.readline(_LONGEST_LINE):
            number += 1
            try:
                line = _parse(raw)
            except InputError as error:
                end_seen = not raw.endswith(b"\n") and len(raw) < _LONGEST_LINE  # more may have come since
                if whole or (not end_seen and file.read(1)):
                    raise InputError(f"line {number}: {error.problems[0]}", str(path)) from None
                return
            yield raw, line


def _parse(raw: bytes) -> Line:
    try:
        line = orjson.loads(raw)
    except ValueError as error:  # infinite numbers and deep nesting among them
        raise InputError(f"is not a line of JSON ({str(error)[:80]})") from None
    if not isinstance(line, dict):
        raise InputError(f"expected an object, got a {type(line).__name__}")
    model = next((model for key, model in _KINDS.items() if key in line), _Generation)
    validated(model, line, None)
    return line


def _learn(recorded: RecordedRun, line: Line, signs: tuple[float, ...], space: Space | None, place: str) -> None:
    try:
        genome = space.from_json(line["genome"]) if space else frozen(line["genome"])
    except ValueError as error:
        raise InputError(f"genome: {error}", place) from None
    if len(line["fitness"]) != len(signs):
        raise InputError(f"holds {len(line['fitness'])} fitness values for {len(signs)} objectives", place)
    failure = line.get("failure")
    if (failure is None) != (None not in line["fitness"]):
        raise InputError("holds a fitness of null without a failure, or the reverse", place)
    values = worst(signs) if failure else tuple(map(float, line["fitness"]))
    measures, worker = line.get("measures", {}), line.get("worker", "")
    evaluation = Evaluation(
        values, line["work"], measures, failure, line["seconds"], worker, line.get("violation", 0.0)
    )
    scores = {"reference": recorded.references, "candidate": recorded.candidates, "finalist": recorded.finalists}
    kind = next(key for key in scores if key in line)
    scores[kind].setdefault((tuple(genome), line.get("fidelity", 1.0), line.get("sample", 0)), evaluation)


def key_of(line: Line) -> Key:
    """The key of the genome of ``line``."""
    genome = line["genome"]
    genome = genome if isinstance(genome, tuple) else frozen(genome)
    return genome, line.get("fidelity", 1.0), line.get("sample", 0)


def item_of(line: Line) -> Any:
    """Return the genome of ``line`` as workers score it: with its sample, where there is noise."""
    genome, _, sample = key_of(line)
    return (genome, sample) if sample else genome


FREE_KEYS = frozenset({"generations", "budget", "max_failures"})
"""Keys of an experiment that decide no line of its history, only how many there will be."""


def run_identity(resolved: Resolved) -> dict[str, Any]:
    """The part of the experiment that decides every line of the history."""
    config = {key: value for key, value in resolved.config().items() if key not in FREE_KEYS}
    free = resolved.problem.unscored(resolved.settings)
    return config | {"problem": {key: value for key, value in config["problem"].items() if key not in free}}


def version_of(environment: Mapping[str, Any]) -> Any:
    """The version of evoprune that an ``environment`` names."""
    packages = environment.get("packages")
    return packages.get("evoprune") if isinstance(packages, dict) else None


def read_experiment(folder: Path, overrides: Sequence[str] = ()) -> Resolved:
    """Return the checked experiment in the ``folder`` of a run, as it was when the run began, with ``overrides``.

    Raises :class:`InputError` if the file was changed. Of a run of another version, new settings are no change.
    """
    if not has_experiment(folder):
        raise InputError(f"is not the folder of a run: it holds no {CONFIG}", str(folder))
    resolved = resolve_at(folder / CONFIG, ())
    environment = read_json(folder / ENVIRONMENT, missing={})
    if version_of(environment) == version("evoprune"):
        refuse_changed_experiment(resolved, environment, folder)
    return resolve_at(folder / CONFIG, overrides) if overrides else resolved


def refuse_changed_experiment(resolved: Resolved, environment: Mapping[str, Any], folder: Path) -> None:
    """Raise :class:`InputError` if the run in ``folder`` began with another experiment, by its ``environment``."""
    refuse_change(environment.get("experiment"), run_identity(resolved), "experiment", folder)


def refuse_change(before: Any, now: Any, key: str, folder: Path) -> None:
    """Raise :class:`InputError` with the first key whose value has changed since the run began."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            refuse_change(before.get(inner), now.get(inner), f"{key}.{inner}", folder)
    elif isinstance(before, list) and isinstance(now, list):
        for place, pair in enumerate(zip_longest(before, now, fillvalue="absent")):
            refuse_change(*pair, f"{key}[{place}]", folder)
    elif before != now:
        changed = f"{key} was {cut_repr(before)} when the run began and is {cut_repr(now)} now"
        remedy = "the scores depend on it: put it back, or begin another run; nothing was changed"
        raise InputError(f"{changed}; {remedy}", str(folder))

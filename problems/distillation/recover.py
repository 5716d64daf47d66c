"""Recovers models of a session: the evolved one, and known solutions trained alike."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError, Phase, Stopped, finite, is_first_process, note, plain, read_json, write_json
from problems.distillation import checkpoint
from problems.distillation.held_out import WORDS, decisive, judged, judged_by
from problems.distillation.loss import divergence
from problems.distillation.settings import RecoverSettings
from problems.distillation.text import RecoveryText, refuse_report
from problems.distillation.train import Training
from problems.distillation.trained import Given
from problems.evaluation.measure import Measure
from problems.evaluation.session import Session
from problems.export.write import put_recovered
from problems.models.device import dtype_of, out_of_memory, release_memory
from problems.models.forward import Forward
from problems.models.load import convert, copy_of
from problems.models.tensor_file import Tensors, sha256_of
from problems.results.verdict import EVOLVED
from problems.texts.windows import Windows
from problems.transforms.transform import Transform

_BEFORE_TYPES = "trained in 16 bits or more, and measured once they are in the genome's types"
_IN_TYPES = "trained beside matrices in the genome's types, which stay as they are"

_NOTHING = {"tokens": 0, "time": None}
"""What the dense model is trained on where the loss is the distance from itself alone."""

Row = dict[str, Any]
"""What is known of one recovered model:

``perplexity_before`` and ``perplexity_after``, ``divergence_before`` and ``divergence_after`` (from the dense model as
it was, in nats a token), all on the report text; ``behind_dense``, nats a token behind the dense model trained alike,
if there is one; ``helped``; ``decided``, of the held-out windows, before and after, what says so; ``tokens`` that the
best weights have seen; ``minutes``; ``trained``; and ``curve``.
"""


@dataclass(frozen=True)
class Teacher:
    """The dense model, and the texts: those to train on, and the one that scores the result."""

    model: Any
    text: RecoveryText
    report: Windows

    def score(self, model: Any) -> dict[str, float | None]:
        """The perplexity of ``model`` on the report text, and its divergence from this one."""
        tokens, forward = self.report.tokens, Forward(model)
        return {
            "perplexity": finite(Measure(forward, None).perplexity(tokens)),
            "divergence": finite(divergence(forward, Forward(self.model), tokens)),
        }

    def judge(self, model: Any, cross_entropy: float) -> float:
        """What of ``model`` on the held-out windows decides."""
        return decisive(Forward(model), Forward(self.model), self.text.held_out, cross_entropy)


@dataclass(frozen=True)
class Recovered:
    """The rows by name, how they were made, and the weights of the evolved model, by name, but for quantised ones."""

    rows: dict[str, Row]
    protocol: dict[str, Any]
    weights: Tensors

    @property
    def helped(self) -> bool:
        """Whether the evolved model became better on the held-out windows."""
        return bool(self.rows[EVOLVED]["helped"])

    def check(self, workplace: Path) -> None:
        """Raise :class:`evoprune.Stopped` where it did not; the checkpoints in ``workplace`` are of no use then."""
        if not self.helped:
            shutil.rmtree(workplace)
            row = self.rows[EVOLVED]
            before, after = row["decided"]
            raise Stopped(
                f"the recovery did not help: {WORDS[judged_by(row['curve'])]} {plain(before)} on the held-out windows "
                f"before, {plain(after)} at best after it; the model stays as it was, and nothing is written"
            )


def recover(
    session: Session, genome: Sequence[float], known: Mapping[str, Sequence[float]], settings: RecoverSettings,
    text: RecoveryText, folder: Path, before: Tensors | None = None, anew: bool = False,
) -> Recovered:  # fmt: skip
    """Train ``genome``'s model, and those of ``known`` that ``settings`` name, on ``text``.

    Checkpoints lie in ``folder``; ``anew``: those of another recovery are deleted. ``before``: the weights that an
    earlier recovery gave ``genome``, which are trained further. The session's model is the dense one afterwards. Raises
    :class:`evoprune.InputError`.
    """
    resident, transform = session.resident, session.transform
    refuse_unknown(settings, known)
    refuse_report(text, session.texts.report)
    genomes = {EVOLVED: list(genome)} | {name: list(known[name]) for name in settings.trained_alike}
    trained = {name: trained_of(transform, own, settings) for name, own in genomes.items()}
    identity = {"genomes": genomes, "weights": resident.weights_sha256, "transform": transform.describe()}
    identity |= {"before": sha256_of(before)} if before else {}
    teacher = Teacher(resident.model, text, session.texts.report)
    if before and settings.trained_alike:
        raise InputError("the result was recovered before, and these were not; leave it out", "alike")
    begin(folder, settings, teacher, identity, anew)

    def make(name: str) -> Given:
        return model_of(session, trained[name], before if name == EVOLVED else None)

    def stored(name: str, model: Any) -> Any:
        return model if trained[name] == genomes[name] else encoded(session, genomes[name], model)

    recovered = recover_all(make, teacher, settings, folder, stored)
    if transform.unencoded(genome) != list(genome):
        recovered.protocol["weights"] = _IN_TYPES if trained[EVOLVED] == list(genome) else _BEFORE_TYPES
    return replace(recovered, weights=(before or {}) | recovered.weights)


def trained_of(transform: Transform, genome: Sequence[float], settings: RecoverSettings) -> list[float]:
    """The genome whose model is trained for ``genome``.

    Where its matrices are trained, they are quantised after that; norms are trained beside matrices in their types.
    """
    return list(genome) if settings.train == "norms" else transform.unencoded(genome)


def model_of(session: Session, genome: Sequence[float], before: Tensors | None = None) -> Given:
    """A copy of the final model of ``genome``, one of :func:`trained_of`.

    ``before``: the weights that an earlier recovery gave it. The session's model is the dense one afterwards.
    """
    transform = session.transform
    transform.finalise(genome)
    made = copy_of(session.resident.model, session.resident.model.dtype)
    held = put_recovered(made, genome, before or {}, transform)
    transform.apply(transform.dense)
    return Given(made, frozenset(held), transform.sparse)


def encoded(session: Session, genome: Sequence[float], model: Any) -> Any:
    """A copy of ``model``, trained in 16 bits or more, in the types of ``genome``."""
    stored = copy_of(model, model.dtype)
    session.transform.encode(stored, genome)
    return stored.to(model.device)


def refuse_unknown(settings: RecoverSettings, known: Iterable[str]) -> None:
    """Raise :class:`evoprune.InputError` unless ``known`` are all that is to be trained alike."""
    if unknown := [name for name in settings.trained_alike if name not in known]:
        raise InputError(f"{', '.join(unknown)}: expected some of {', '.join(known)}", "alike")


def begin(
    folder: Path, settings: RecoverSettings, teacher: Teacher, identity: Mapping[str, Any], anew: bool = False
) -> None:
    """Make ``folder``, or raise :class:`evoprune.InputError` if it holds the checkpoints of another recovery.

    ``identity``: JSON-able, what tells the models apart. ``anew``: such checkpoints are deleted.
    """
    read = {"text": teacher.text.whole.sha256, "report": teacher.report.sha256}
    how = settings.model_dump(exclude={"base"})  # how the result is written may change
    told = repr([sorted(how.items()), read, sorted(identity.items()), dtype_of(teacher.model)])
    now = {"recovery": hashlib.sha256(told.encode()).hexdigest()}
    path = folder / "recovery.json"
    if path.exists() and read_json(path) != now:
        if not anew:
            raise InputError("holds checkpoints of another recovery; delete it, or choose another --out", str(folder))
        note(f"{folder}: the recovery begins anew, as these checkpoints are of another model or other settings")
        shutil.rmtree(folder)
    if not path.exists() and is_first_process():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, now)


def recover_all(
    make: Callable[[str], Given], teacher: Teacher, settings: RecoverSettings, folder: Path,
    stored: Callable[[str, Any], Any] = lambda _, model: model,
) -> Recovered:  # fmt: skip
    """Train the evolved model and, if that helped, those that are to be trained alike.

    ``make``: gives what is trained under a name, in the dtype it is measured in. ``stored``: what is measured, of a
    name and its model.
    """
    rows: dict[str, Row] = {}
    weights: Tensors = {}
    for name in dict.fromkeys([EVOLVED, *settings.trained_alike]):
        given = make(name)
        own = _NOTHING if name == "dense" and not settings.cross_entropy else {}
        with _enough_memory(teacher.model.device):
            model, rows[name], plan = _recover_one(
                name, given, teacher, settings.model_copy(update=own), folder / name, partial(stored, name)
            )
        if name == EVOLVED:
            settings = settings.model_copy(update=plan)  # auto and a time are decided once
            kept = ((key, each) for key, each in model.named_parameters() if key not in given.fixed)
            weights = {key: each.detach().to("cpu", copy=True) for key, each in kept}
        del given, model
        release_memory(teacher.model.device)
        if not rows[EVOLVED]["helped"]:
            break
    if not is_first_process():
        raise SystemExit(0)  # the first process writes the result
    dense = rows.get("dense", {}).get("perplexity_after")
    for name, row in rows.items():
        if name != "dense" and dense and row["perplexity_after"]:
            row["behind_dense"] = math.log(row["perplexity_after"] / dense)
    protocol = {
        "text": teacher.text.protocol(),
        "held_out_dense": finite(Measure(Forward(teacher.model), None).perplexity(teacher.text.held_out)),
        "loss": f"divergence from the dense model + {settings.cross_entropy:g} x cross-entropy + {settings.hidden:g} x "
        "squared difference of normalised hidden states",
        **settings.model_dump(include={"batch", "rate", "seed", "evaluations", "patience"}),
    }
    return Recovered(rows, protocol, weights)


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    """Raise :class:`evoprune.Stopped` where there is too little on ``device``."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise Stopped(
            f"{device} has no memory left for the recovery; checkpointing, a shorter window, a smaller batch or "
            "train: norms needs less"
        ) from None


def _recover_one(
    name: str, given: Given, teacher: Teacher, settings: RecoverSettings, folder: Path, stored: Callable[[Any], Any]
) -> tuple[Any, Row, dict[str, Any]]:
    """The model, in the dtype it came in, its row, and the settings that were decided here."""
    model, dtype = given.model, given.model.dtype
    with Phase() as phase:
        phase.note(f"recovering {name}")
        phase.now("measuring the report text")
        convert(model, teacher.model.device, dtype)
        first = stored(model)
        before = teacher.score(first)
        in_types = first is not model  # what is stored is another model than the one that is trained
        decided = [teacher.judge(first, settings.cross_entropy)] if in_types else []
        del first
        convert(model, teacher.model.device, torch.float32)
        checkpoints = checkpoint.Checkpoints(folder)
        training = Training(given, teacher.model, teacher.text, settings, checkpoints, phase)
        model = training.run()
        convert(model, teacher.model.device, dtype)
        model.requires_grad_(False)
        course = training.course
        last = stored(model) if course.helped else None
        if not in_types:
            decided = judged(course.curve)
        elif course.helped:
            decided.append(teacher.judge(last, settings.cross_entropy))
        helped = min(decided) < decided[0]
        after = before  # with the weights that it had
        if helped:
            phase.now("measuring the report text")
            after = teacher.score(last)
    row: Row = {f"{key}_{when}": found[key] for key in before for when, found in (("before", before), ("after", after))}
    row |= {
        "helped": helped,
        "decided": [finite(decided[0]), finite(min(decided[1:], default=decided[0]))],
        "tokens": training.tokens,
        "minutes": round(course.seconds / 60, 2),
        "trained": f"{training.train}, {training.trained_parameters:,} parameters",
        "curve": course.curve,
    }
    return model, row, {"train": training.train, "tokens": training.planned_tokens, "time": None}

"""Recovers the final models of a session: the evolved one, and baselines trained alike."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError, Stopped
from evoprune.plugins import EVOLVED, Progress, finite, note, read_json, write_json
from evoprune.problems.language_model.distillation.progress import held_out_scores
from evoprune.problems.language_model.distillation.settings import RecoverPhaseSettings, RecoverSettings
from evoprune.problems.language_model.distillation.teacher import RecoveryText, Teacher, compensate
from evoprune.problems.language_model.distillation.training import Training
from evoprune.problems.language_model.models.device import dtype_of, out_of_memory, release_memory
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.lazy_weights import without_offloading
from evoprune.problems.language_model.models.load import convert, copy_of
from evoprune.problems.language_model.models.tensor_file import Tensors, sha256_of
from evoprune.problems.language_model.results.final_model import FinalModel, QuantisedModel
from evoprune.problems.language_model.results.recovery import seconds_of
from evoprune.problems.language_model.results.result import RecoveredRow, criterion_values

_BEFORE_TYPES = "trained in 16 bits or more, and measured once they are in the genome's types"
_IN_TYPES = "trained beside matrices in the genome's types, whose codes stay as they are"

# settings of the dense model if the loss is only its distance from itself
_NOTHING = {"tokens": 0, "time": None, "schedule": ()}


@dataclass(frozen=True)
class Recovered:
    """Rows by name, their protocol, and the weights of the evolved model, for :class:`FinalModel`."""

    rows: dict[str, RecoveredRow]
    protocol: dict[str, Any]
    weights: Tensors

    @property
    def helped(self) -> bool:  # on the held-out windows
        return self.rows[EVOLVED].helped


def recover(
    final: FinalModel, baselines: Mapping[str, Sequence[float]], settings: RecoverSettings, text: RecoveryText,
    folder: Path, anew: bool = False,
) -> Recovered:  # fmt: skip
    """Train ``final``, and if that helps, the genomes of ``baselines`` that ``settings.alike`` names.

    ``folder``: of the checkpoints; ``anew``: delete them if they are of another recovery. The dense model is resident
    afterwards.
    """
    session, transform, read = final.session, final.session.transform, final.session.transform.teacher(final.genome)
    models = {EVOLVED: final} | {name: FinalModel(session, baselines[name]) for name in settings.trained_alike}
    if others := [name for name, each in models.items() if transform.teacher(each.genome) != read]:
        raise InputError(f"{', '.join(others)} has another vocabulary, and so another teacher; leave it out", "alike")
    if final.recovered and settings.trained_alike:
        raise InputError("the result was recovered before, and these were not; leave it out", "alike")
    teacher = Teacher.of(session, final.genome, text)
    _begin(folder, settings, teacher, models, anew)
    rows: dict[str, RecoveredRow] = {}
    weights: Tensors = {}
    with without_offloading(teacher.model):
        for name, each in models.items():
            changed = _NOTHING if name == "dense" and not settings.cross_entropy_weight else {}
            with _enough_memory(teacher.model.device):
                trained, training, rows[name] = _train(name, each, teacher, settings.model_copy(update=changed), folder)
            if name == EVOLVED:
                weights = {
                    key: weight.detach().to("cpu", copy=True)
                    for key, weight in trained.model.named_parameters()
                    if key not in trained.encoded
                }
                weights |= {key: torch.from_numpy(matrix.data) for key, matrix in training.encoded.items()}
                plan = {"train": training.train, "tokens": training.planned_tokens, "time": None, "schedule": ()}
                settings = settings.model_copy(update=plan)  # auto and a time are decided once
            del trained, training
            release_memory(teacher.model.device)
            if not rows[EVOLVED].helped:
                break
    if "dense" in rows and (dense := rows["dense"].perplexity_after):
        for name, row in rows.items():
            if name != "dense" and row.perplexity_after:
                rows[name] = row.model_copy(update={"behind_dense": math.log(row.perplexity_after / dense)})
    protocol = {
        "text": teacher.text.protocol(),
        "held_out_dense": finite(teacher.dense.perplexity(teacher.text.held_out)),
        "loss": f"divergence from the dense model + {settings.cross_entropy_weight:g} x cross-entropy",
        "batch": settings.step_windows,
        **settings.model_dump(include={"rate", "seed", "evaluations", "patience"}),
    }
    if transform.form:
        protocol["weights"] = _BEFORE_TYPES if final.rounds_after(settings.train) else _IN_TYPES
    return Recovered(rows, protocol, {**final.recovered, **weights})


def _begin(
    folder: Path, settings: RecoverSettings, teacher: Teacher, models: Mapping[str, FinalModel], anew: bool
) -> None:
    """Make ``folder``; ``anew``: delete the checkpoints of another recovery, which else raise InputError."""
    final, path = models[EVOLVED], folder / "recovery.json"
    decisive = {*RecoverPhaseSettings.model_fields} - {"time"}  # not the options of the export
    identity = [
        sorted(settings.model_dump(include=decisive).items()),
        {name: list(model.genome) for name, model in models.items()},
        (final.session.resident.weights_sha256, final.session.transform.facts.describe(), dtype_of(teacher.model)),
        (teacher.text.whole.sha256, teacher.report.sha256, sha256_of(final.recovered) if final.recovered else ""),
    ]
    now = {"recovery": hashlib.sha256(repr(identity).encode()).hexdigest()}
    if path.exists() and read_json(path) != now:
        if not anew:
            raise InputError("holds checkpoints of another recovery; delete it, or choose another --out", str(folder))
        note(f"{folder}: the recovery begins anew, as these checkpoints are of another model or other settings")
        shutil.rmtree(folder)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, now)


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise Stopped(
            f"{device} has no memory left for the recovery; a shorter window, a smaller batch or train: norms "
            "needs less"
        ) from None


def _train(
    name: str, final: FinalModel, teacher: Teacher, settings: RecoverSettings, folder: Path
) -> tuple[QuantisedModel, Training, RecoveredRow]:
    """Return the trained model of ``final``, in the session's dtype, its training, and its row."""
    session, device, judge = final.session, teacher.model.device, _Judge(final, teacher, settings)
    transform, text = session.transform, teacher.text
    before = teacher.reported_scores(session, final)
    model, encoded = final.to_train(settings.train).copy()
    transform.apply(transform.dense)
    release_memory(device)  # of the copies in types that the session's model had
    dtype, read = model.dtype, transform.teacher(final.genome)
    alone = not final.recovered and transform.differ_in_form_only(final.genome, read)
    with Progress() as phase:
        phase.note(f"recovering {name}")
        phase.now("measuring the report text")
        begun = time.perf_counter()
        convert(model, device, dtype)
        first = judge.rounded(model)
        before = before or teacher.score(first)
        new_codes = settings.train == "scales" and not settings.keep_codes and alone
        decided = [judge.loss(first)] if judge.rounds or new_codes else []
        del first
        measuring = time.perf_counter() - begun  # as long again at the end
        if new_codes:
            tokens = teacher.dense.teacher_ids(text.train)
            before_codes, encoded = encoded, compensate(teacher.model, encoded, tokens, judge.loss, model, decided[0])
            if encoded is before_codes:  # the training measures the same weights, in its own number format
                decided = []
        if settings.time is not None:
            settings = settings.lasting(seconds_of(settings.time) - measuring - (time.perf_counter() - begun))
        release_memory(device)  # of copies in types, and of statistics
        student = QuantisedModel(model, encoded)
        training = Training(student, transform.facts.sparse, teacher.dense, text, settings, folder / name, phase)
        model = training.run()
        convert(model, device, dtype)
        model.requires_grad_(False)
        progress = training.progress
        last = judge.rounded(model) if progress.helped else model
        if not judge.rounds:
            decided += criterion_values(progress.curve)
        elif progress.helped:
            decided.append(judge.loss(last))
        after = before  # with the weights that it had
        if min(decided) < decided[0]:
            phase.now("measuring the report text")
            after = teacher.score(last)
    return QuantisedModel(model, encoded), training, _row(training, before, after, decided)


@dataclass(frozen=True)
class _Judge:
    """Measures models of ``final`` on the held-out windows of ``teacher``, as they are exported."""

    final: FinalModel
    teacher: Teacher
    settings: RecoverSettings

    @property
    def rounds(self) -> bool:
        """True if trained weights are then rounded to the types of the genome."""
        return self.final.rounds_after(self.settings.train)

    def rounded(self, model: Any) -> Any:
        """Return ``model``, or if it :attr:`rounds`, a copy in types."""
        if not self.rounds:
            return model
        copy = copy_of(model, model.dtype)
        self.final.round(copy)
        return copy.to(self.teacher.model.device)

    def loss(self, model: Any) -> float:
        teacher, weight = self.teacher, self.settings.cross_entropy_weight
        return criterion_values([held_out_scores(Forward(model), teacher.dense, teacher.text.held_out, weight)])[0]


def _row(
    training: Training, before: Mapping[str, Any], after: Mapping[str, Any], decided: Sequence[float]
) -> RecoveredRow:
    """Return the row of a ``training``; ``decided``: held-out losses, before it and after."""
    progress = training.progress
    scores = {f"{key}_{when}": of[key] for key in before for when, of in (("before", before), ("after", after))}
    row = scores | {
        "helped": min(decided) < decided[0],
        "decided": (finite(decided[0]), finite(min(decided[1:], default=decided[0]))),
        "tokens": training.tokens,
        "minutes": round(progress.seconds / 60, 2),
        "trained": training.trained,
        "schedule": progress.schedule,
        "curve": progress.curve,
    }
    return RecoveredRow.model_validate(row)

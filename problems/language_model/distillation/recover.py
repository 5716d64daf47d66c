"""Recovers the final models of a session: the evolved one, and known solutions trained alike."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from evoprune import InputError, Stopped
from evoprune.console.formatting import plain
from evoprune.console.phase import Phase, is_first_process, note
from evoprune.files.json_files import finite, read_json, write_json
from evoprune.problems.language_model.distillation.block_scales import compensate
from evoprune.problems.language_model.distillation.checkpoint import Checkpoints
from evoprune.problems.language_model.distillation.progress import held_out_scores
from evoprune.problems.language_model.distillation.settings import RecoverSettings, seconds_of
from evoprune.problems.language_model.distillation.targets import DenseModel
from evoprune.problems.language_model.distillation.teacher import Teacher, taught
from evoprune.problems.language_model.distillation.text import RecoveryText
from evoprune.problems.language_model.distillation.trainable_parameters import Given
from evoprune.problems.language_model.distillation.training import Training
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.device import dtype_of, out_of_memory, release_memory
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.late import at_home
from evoprune.problems.language_model.models.load import convert, copy_of
from evoprune.problems.language_model.models.tensor_file import Tensors, sha256_of
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.learning_curve import criterion, criterion_values
from evoprune.problems.language_model.results.result import EVOLVED, RecoveredRow
from evoprune.problems.language_model.transforms.stack.stack import Stack

S = TypeVar("S", bound=RecoverSettings)

_BEFORE_TYPES = "trained in 16 bits or more, and measured once they are in the genome's types"
_IN_TYPES = "trained beside matrices in the genome's types, whose codes stay as they are"

_NOTHING = {"tokens": 0, "time": None}  # settings of the dense model if the loss is the distance from itself alone


@dataclass(frozen=True)
class Recovered:
    """The rows by name, their protocol, and the weights of the evolved model, as :class:`FinalModel` takes them."""

    rows: dict[str, RecoveredRow]
    protocol: dict[str, Any]
    weights: Tensors

    @property
    def helped(self) -> bool:  # on the held-out windows
        return self.rows[EVOLVED].helped

    def json_rows(self) -> dict[str, Any]:
        """Return the rows as ``result.json`` holds them."""
        return {name: row.model_dump(mode="json", exclude_unset=True) for name, row in self.rows.items()}

    def check(self, workplace: Path) -> None:
        """Raise :class:`evoprune.Stopped` if it did not help, and delete the checkpoints in ``workplace``."""
        if not self.helped:
            shutil.rmtree(workplace)
            row = self.rows[EVOLVED]
            before, after = row.decided
            raise Stopped(
                f"the recovery did not help: {criterion(row.curve)} {plain(before)} on the held-out windows before, "
                f"{plain(after)} at best after it; the model stays as it was, and nothing is written"
            )


def recover(
    final: FinalModel, known: Mapping[str, Sequence[float]], settings: RecoverSettings, text: RecoveryText,
    folder: Path, anew: bool = False,
) -> Recovered:  # fmt: skip
    """Train ``final``, further if it was recovered before, and those of ``known`` that ``settings`` name, on ``text``.

    Checkpoints lie in ``folder``; ``anew``: those of another recovery are deleted. The session's model is the dense one
    afterwards.
    """
    session = final.session
    refuse_unknown(settings, known)
    models = {EVOLVED: final} | {name: FinalModel(session, known[name]) for name in settings.trained_alike}
    identity: dict[str, Any] = {"genomes": {name: list(model.genome) for name, model in models.items()}}
    identity |= {"weights": session.resident.weights_sha256, "transform": session.transform.describe()}
    identity |= {"before": sha256_of(final.recovered)} if final.recovered else {}
    transform, read = session.transform, session.transform.teacher(final.genome)
    if others := [name for name, each in models.items() if transform.teacher(each.genome) != read]:
        raise InputError(f"{', '.join(others)} has another vocabulary, and so another teacher; leave it out", "alike")
    teacher = Teacher.of(session, final.genome, text)
    if final.recovered and settings.trained_alike:
        raise InputError("the result was recovered before, and these were not; leave it out", "alike")
    begin(folder, settings, teacher, identity, anew)

    def make(name: str) -> Given:
        given = replace(_given(models[name], settings.train), before=teacher.known(session, models[name]))
        alone = not final.recovered and [*transform.shaping(final.genome)] == [*transform.shaping(read)]
        if settings.train != "scales" or settings.keep_codes or not alone:
            return given
        tokens = teacher.dense.as_read(teacher.text.train)
        loss = partial(_criterion, dense=teacher.dense, text=teacher.text, settings=settings)
        return replace(given, codes=partial(compensate, teacher.model, given.encoded, tokens, loss))

    with at_home(teacher.model):
        recovered = recover_all(make, teacher, settings, folder)
    if final.has_types:
        recovered.protocol["weights"] = _BEFORE_TYPES if final.rounds_after(settings.train) else _IN_TYPES
    return replace(recovered, weights={**final.recovered, **recovered.weights})


def criterion_after(
    final: FinalModel, settings: RecoverSettings, text: RecoveryText, tokens: int,
    judge: Callable[[torch.nn.Module], float] | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Criterion of ``final`` on the held-out windows before and after training on ``tokens`` tokens of ``text``.

    The value after it is that of ``judge`` instead, where it is given.
    """
    resident, rounds = final.session.resident, final.rounds_after(settings.train)
    with at_home(resident.model):
        given = _given(final, settings.train if tokens else "norms")
        dense, text = taught(final.session, final.genome, text)
        convert(given.model, resident.device, resident.model.dtype)
        if not tokens:
            found = _criterion(given.model, dense, text, settings)
            return found, judge(given.model) if judge else found
        last = 0 if rounds or judge else 1
        short = settings.model_copy(update={"tokens": tokens, "time": None, "evaluations": last})
        training = Training(given, dense, text, short, Checkpoints(None), Phase(quiet=True))
        training.train_on()
        values = criterion_values(training.progress.curve)
        if last:
            return values[0], values[-1]
        model = training.merged()
        if rounds:
            final.round(model)
        return values[0], judge(model) if judge else _criterion(model, dense, text, settings)


def decided(settings: S, transform: Stack) -> S:
    """``settings`` in which ``auto`` is ``scales`` if ``transform`` has types and leaves all inputs of matrices."""
    if settings.train == "auto" and transform.has_types and not transform.cuts_blocks:
        return settings.model_copy(update={"train": "scales"})
    return settings


def refuse_scales(settings: RecoverSettings, transform: Stack | None = None) -> None:
    """Raise :class:`evoprune.InputError` if scales are to be trained and ``transform`` gives matrices no types."""
    if settings.train == "scales" and not (transform and transform.has_types):
        raise InputError("scales are those of GGUF types, and the result has none; use all, lora or norms", "train")


def _given(final: FinalModel, train: str = "norms") -> Given:
    """A copy of the model to train for ``final``; the session's model is the dense one afterwards."""
    transform = final.session.transform
    model, encoded = final.to_train(train).copy()
    transform.apply(transform.dense)
    rounded = partial(_rounded, final) if final.rounds_after(train) else None
    return Given(model, encoded, transform.sparse, rounded)


def _rounded(final: FinalModel, model: Any) -> Any:
    copy = copy_of(model, model.dtype)
    final.round(copy)
    return copy.to(model.device)


def _criterion(model: Any, dense: DenseModel, text: RecoveryText, settings: RecoverSettings) -> float:
    scores = held_out_scores(Forward(model), dense, text.held_out, settings.cross_entropy_weight)
    return criterion_values([scores])[0]


def refuse_unknown(settings: RecoverSettings, known: Iterable[str]) -> None:
    """Raise :class:`evoprune.InputError` unless ``known`` are all that is to be trained alike."""
    if unknown := [name for name in settings.trained_alike if name not in known]:
        raise InputError(f"{', '.join(unknown)}: expected some of {', '.join(known)}", "alike")


def begin(
    folder: Path, settings: RecoverSettings, teacher: Teacher, identity: Mapping[str, Any], anew: bool = False
) -> None:
    """Make ``folder``, or raise :class:`evoprune.InputError` if it holds the checkpoints of another recovery.

    ``identity``: JSON-able facts that tell the models apart. ``anew``: such checkpoints are deleted.
    """
    read = {"text": teacher.text.whole.sha256, "report": teacher.report.sha256}
    written = {"base", "untimed"}  # how the result is written may change, and steps are kept
    how = settings.model_dump(exclude={*written, "time"})
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


def recover_all(make: Callable[[str], Given], teacher: Teacher, settings: RecoverSettings, folder: Path) -> Recovered:
    """Train the evolved model and, if that helped, those that are to be trained alike.

    ``make``: gives the model to train under a name, in the dtype it is measured in.
    """
    rows: dict[str, RecoveredRow] = {}
    weights: Tensors = {}
    for name in dict.fromkeys([EVOLVED, *settings.trained_alike]):
        given = make(name)
        release_memory(teacher.model.device)  # of the copies in types that the session's model had
        own = _NOTHING if name == "dense" and not settings.cross_entropy_weight else {}
        with _enough_memory(teacher.model.device):
            own_settings = settings.model_copy(update=own)
            model, encoded, rows[name], plan = _recover_one(name, given, teacher, own_settings, folder / name)
        if name == EVOLVED:
            settings = settings.model_copy(update=plan)  # auto and a time are decided once
            kept = ((key, each) for key, each in model.named_parameters() if key not in given.encoded)
            weights = {key: each.detach().to("cpu", copy=True) for key, each in kept}
            weights |= {key: torch.from_numpy(each.data) for key, each in encoded.items()}
        del given, model
        release_memory(teacher.model.device)
        if not rows[EVOLVED].helped:
            break
    if not is_first_process():
        raise SystemExit(0)  # the first process writes the result
    if "dense" in rows and (dense := rows["dense"].perplexity_after):
        for name, row in rows.items():
            if name != "dense" and row.perplexity_after:
                rows[name] = row.model_copy(update={"behind_dense": math.log(row.perplexity_after / dense)})
    protocol = {
        "text": teacher.text.protocol(),
        "held_out_dense": finite(teacher.dense.perplexity(teacher.text.held_out)),
        "loss": f"divergence from the dense model + {settings.cross_entropy_weight:g} x cross-entropy + "
        f"{settings.hidden:g} x squared difference of normalised hidden states",
        "batch": settings.step_windows,
        **settings.model_dump(include={"rate", "seed", "evaluations", "patience"}),
    }
    return Recovered(rows, protocol, weights)


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
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
    name: str, given: Given, teacher: Teacher, settings: RecoverSettings, folder: Path
) -> tuple[Any, Mapping[str, Encoded], RecoveredRow, dict[str, Any]]:
    """Return the model, in the dtype it came in, matrices with trained scales, its row, and the settings decided."""
    model, dtype, device = given.model, given.model.dtype, teacher.model.device
    with Phase() as phase:
        phase.note(f"recovering {name}")
        phase.now("measuring the report text")
        begun = time.perf_counter()
        convert(model, device, dtype)
        first = given.rounded(model) if given.rounded else model
        before = given.before or teacher.score(first)
        apart = given.rounded or given.codes
        decided = [_criterion(first, teacher.dense, teacher.text, settings)] if apart else []
        del first
        measuring = time.perf_counter() - begun  # as long again at the end
        if given.codes:
            given = replace(given, encoded=given.codes(model, decided[0]))
        if settings.time is not None:
            settings = settings.lasting(seconds_of(settings.time) - measuring - (time.perf_counter() - begun))
        release_memory(device)  # of copies in types, and of statistics
        training = Training(given, teacher.dense, teacher.text, settings, Checkpoints(folder), phase)
        model = training.run()
        convert(model, device, dtype)
        model.requires_grad_(False)
        progress = training.progress
        last = given.rounded(model) if given.rounded and progress.helped else model
        if not given.rounded:
            decided += criterion_values(progress.curve)
        elif progress.helped:
            decided.append(_criterion(last, teacher.dense, teacher.text, settings))
        helped = min(decided) < decided[0]
        after = before  # with the weights that it had
        if helped:
            phase.now("measuring the report text")
            after = teacher.score(last)
    scores = {f"{key}_{when}": found[key] for key in before for when, found in (("before", before), ("after", after))}
    row = scores | {
        "helped": helped,
        "decided": (finite(decided[0]), finite(min(decided[1:], default=decided[0]))),
        "tokens": training.tokens,
        "minutes": round(progress.seconds / 60, 2),
        "trained": f"{training.train}, {training.trained_parameters:,} parameters",
        "curve": progress.curve,
    }
    plan = {"train": training.train, "tokens": training.planned_tokens, "time": None}
    return model, training.encoded, RecoveredRow.model_validate(row), plan

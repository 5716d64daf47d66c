"""Begin a run in a new folder, or continue one.

The experiment and the scores determine a run, so its history is its checkpoint: the search is repeated from its start
with the recorded scores, and then continues with evaluations.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from evoprune.backends import start
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, stopping_at_full_disks
from evoprune.console.progress import Progress, note
from evoprune.experiment.resolve import Resolved, refuse_missing, resolve_at
from evoprune.files.json_files import read_json
from evoprune.interfaces.problem import Evaluation
from evoprune.records import recorded, run_folder
from evoprune.records.recorded import Key, RecordedRun
from evoprune.records.run_folder import Busy, Promise, has_experiment
from evoprune.records.status import keeping_status
from evoprune.search.search import StoppingRule, run_search
from evoprune.search.sharing import help_with
from evoprune.search.toolbox import Prepared, decide_execution

Scores = Mapping[Key, Evaluation]
_NOTHING: Scores = MappingProxyType({})


def run(
    resolved: Resolved,
    folder: Path,
    execution: Execution | None = None,
    scores: Scores = _NOTHING,
    promise: Promise | None = None,
    rule: StoppingRule | None = None,
) -> bool:
    """Run the experiment in the new ``folder``; return True.

    Raises :class:`InputError` for the user's input, and deletes the folder if nothing was recorded; :class:`Stopped`
    when the run ends early. ``scores``: scores on the same problem. ``promise``: of an export that follows the run.
    ``rule``: ends this search.
    """
    refuse_missing(resolved)

    def write(place: Path) -> None:
        run_folder.write_config(place, resolved.config())
        if promise is not None:
            promise.write(place)

    with run_folder.created(folder, write):
        return _begin(resolved, folder, execution or Execution(), rule, scores)


def _begin(
    resolved: Resolved, folder: Path, execution: Execution, rule: StoppingRule | None, scores: Scores = _NOTHING
) -> bool:
    """As :func:`run`, in a locked ``folder`` without a history."""
    with stopping_at_full_disks(folder), keeping_status(folder) as status:
        status.begin()
        with Progress("starting"):
            execution = decide_execution(resolved, execution)
        note(f"{folder}: {execution.in_words()}")
        prepared = Prepared.of(resolved, folder, execution)
        facts = {"execution": asdict(execution), "fingerprint": prepared.fingerprint}
        facts["experiment"] = recorded.run_identity(prepared.resolved)
        environment = run_folder.environment() | facts
        with start(execution, prepared.build_seconds) as backend:
            return run_search(prepared, backend, RecordedRun(candidates=dict(scores)), environment, status, rule)


def resume(folder: Path, overrides: Sequence[str], execution: Execution, rule: StoppingRule | None = None) -> bool:
    """Continue the run in ``folder``, if it is still the same run; return whether anything was left to do.

    ``overrides`` change its experiment as ``--set`` does. Raises as :func:`run`; an :class:`InputError` changed
    nothing.
    """
    run_folder.refuse_foreign(folder)
    _has_begun(folder)  # refuses another folder before the lock is written into it
    with run_folder.locked(folder):
        if not _has_begun(folder):
            return _begin(resolve_at(folder / run_folder.CONFIG, overrides), folder, execution, rule)
        return _continue(folder, overrides, execution, rule)


def _has_begun(folder: Path) -> bool:
    """Return whether the run in ``folder`` has scored anything. Raises :class:`InputError` if no run is there."""
    there = {path.name for path in folder.iterdir()}
    if run_folder.CONFIG in there and not {run_folder.ENVIRONMENT, run_folder.HISTORY} & there:
        return False
    if run_folder.ENVIRONMENT not in there:
        raise InputError(f"holds no {run_folder.ENVIRONMENT}, so there is no run to continue", str(folder))
    return True


def _continue(folder: Path, overrides: Sequence[str], execution: Execution, rule: StoppingRule | None) -> bool:
    """As :func:`resume`, in a locked ``folder`` with a history."""
    with stopping_at_full_disks(folder), keeping_status(folder) as status:
        environment = read_json(folder / run_folder.ENVIRONMENT)
        resolved = resolve_at(folder / run_folder.CONFIG, overrides)
        now = run_folder.environment()
        old, new = map(recorded.version_of, (environment, now))
        recorded.refuse_change(old, new, "the version of evoprune", folder)
        recorded.refuse_changed_experiment(resolved, environment, folder)
        execution = decide_execution(resolved, execution)
        run = Prepared.of(resolved, folder, execution, run_folder.read_measured(folder))
        recorded.refuse_change(environment.get("fingerprint"), run.fingerprint, "fingerprint", folder)
        past = recorded.read(folder, run.problem.signs, run.problem.space)
        if past.generation == resolved.experiment.generations and (folder / run_folder.RESULT).exists():
            return False  # at once; one that its budget ended finds out where its past ends
        before = environment.get("resumed")
        environment["resumed"] = [*(before if isinstance(before, list) else []), now | {"execution": asdict(execution)}]
        note(f"{folder}: {execution.in_words()}")
        with start(execution, run.build_seconds) as backend:
            return run_search(run, backend, past, environment, status, rule)


def run_to_its_end(
    resolved: Resolved, place: Path, execution: Execution, scores: Scores = _NOTHING, overrides: Sequence[str] = (),
    rule: StoppingRule | None = None,
) -> None:  # fmt: skip
    """Run ``resolved`` in ``place``, or continue the run there; do nothing if it is finished. See :func:`run`.

    ``overrides``: lengthen the run there, also a finished one.
    """
    if not place.exists():
        run(resolved, place, execution, scores, rule=rule)
    elif overrides or not (place / run_folder.RESULT).exists():
        resume(place, overrides, execution, rule)


def run_with_others(resolved: Resolved, place: Path, execution: Execution, rule: StoppingRule) -> None:
    """As :func:`run_to_its_end`, shared by all processes that call it: one searches, the others score for it.

    A larger budget lengthens the run in ``place``. Raises :class:`InputError` for another search there.
    """
    budget, generations = resolved.experiment.budget or 0.0, resolved.experiment.generations
    while True:
        longer: list[str] = []
        if place.exists():
            run_folder.refuse_foreign(place)
        if has_experiment(place):
            there = resolve_at(place / run_folder.CONFIG, ())
            before, now = map(recorded.run_identity, (there, resolved))
            recorded.refuse_change(before, now, "experiment", place)
            if budget > (there.experiment.budget or math.inf):
                longer = [f"budget={budget}", f"generations={generations}"]
        try:
            return run_to_its_end(resolved, place, execution, overrides=longer, rule=rule)
        except Busy:
            help_with(resolved, place, execution)


def refuse_other_experiment(resolved: Resolved, place: Path, instead: str) -> None:
    """Raise :class:`InputError`, with the advice ``instead``, if the run in ``place`` is of another experiment."""
    path = place / run_folder.CONFIG
    if not path.exists():
        return
    there, here = resolve_at(path, ()).config(), resolved.config()
    if resolved.experiment.automatic:  # there, all is chosen
        here = there | {key: value for key, value in here.items() if key != "operators"}
    if there != here:
        raise InputError(f"holds a run of another experiment; {instead}", str(place))

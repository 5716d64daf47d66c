"""Continues a run that ended early.

The experiment and the scores decide a run, so its history is all that this needs: the same
search is made again from its start, with the recorded scores in place of evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evoprune import backends
from evoprune.backends.execution import Execution
from evoprune.console.phase import note
from evoprune.errors import InputError, stopping_at_full_disks
from evoprune.experiment.explain import cut_repr
from evoprune.experiment.resolve import resolve, resolve_at
from evoprune.files.json_files import read_json
from evoprune.interfaces.result import Result
from evoprune.records import recorded, run_folder
from evoprune.records.status import keeping_status
from evoprune.search.prepared import Prepared, decide, deciding
from evoprune.search.run import begin, carry_out


def resume(folder: Path, overrides: Sequence[str], execution: Execution) -> Result | None:
    """Continue the run in ``folder`` without scoring anything twice; return None if it is already complete.

    ``overrides`` change its experiment as ``--set`` does. It is continued only if it is
    still the same run: all that it recorded is compared with what it would record now. A run that ended before it
    scored anything begins again. Raises as :func:`evoprune.search.run.run` does; an :class:`InputError` has changed
    nothing.
    """
    run_folder.refuse_links(folder)
    there = {path.name for path in folder.iterdir()}
    if {run_folder.CONFIG, run_folder.STATUS} <= there and not {run_folder.ENVIRONMENT, run_folder.HISTORY} & there:
        with run_folder.locked(folder):
            return begin(resolve_at(folder / run_folder.CONFIG, overrides), folder, execution)
    if run_folder.ENVIRONMENT not in there:
        raise InputError(
            f"holds no {run_folder.ENVIRONMENT}, so there is no run to continue; expected RUN_DIR", str(folder)
        )
    with run_folder.locked(folder):
        environment = read_json(folder / run_folder.ENVIRONMENT)
        resolved = resolve_at(folder / run_folder.CONFIG, overrides)
        _refuse_change(_with_new_keys(environment.get("experiment"), folder), deciding(resolved), "experiment", folder)
        execution = decide(resolved, execution)
        run = Prepared.of(resolved, folder, execution, run_folder.read_measured(folder))
        _refuse_change(environment.get("fingerprint"), run.fingerprint, "fingerprint", folder)
        past = recorded.read(folder, run.problem.weights)
        asked = resolved.experiment.generations
        if past.generation > asked:
            raise InputError(f"generations: the run has {past.generation} already, more than {asked}", str(folder))
        if past.generation == asked and (folder / run_folder.RESULT).exists():
            return None  # at once; one that its budget or patience ended finds out where its past ends
        resumed = environment.get("resumed")
        now = run_folder.environment() | {"execution": asdict(run.execution)}
        environment["resumed"] = [*(resumed if isinstance(resumed, list) else []), now]
        note(f"{folder}: {execution.in_words()}")
        with (
            stopping_at_full_disks(folder),
            keeping_status(folder) as status,
            backends.start(run.execution, run.building) as backend,
        ):
            return carry_out(run, backend, past, environment, status)


def _with_new_keys(recorded: Any, folder: Path) -> Any:
    """The experiment that a run recorded, with the defaults of keys that experiments have got since it began.

    Where such a default changes what is scored, the problem's fingerprint says so.
    """
    return deciding(resolve(recorded, str(folder / run_folder.ENVIRONMENT))) if isinstance(recorded, dict) else recorded


def _refuse_change(before: Any, now: Any, key: str, folder: Path) -> None:
    """Raise :class:`InputError` with the first key whose value has changed since the run began."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            _refuse_change(before.get(inner), now.get(inner), f"{key}.{inner}", folder)
    elif before != now:
        raise InputError(
            f"{key} was {cut_repr(before)} when the run began and is {cut_repr(now)} now; the scores so far depend on "
            "it, so the run cannot be continued; nothing was changed",
            str(folder),
        )

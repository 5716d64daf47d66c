"""A run that is begun, continued, or done already: for commands that make many and may be interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from evoprune.backends.execution import Execution
from evoprune.errors import InputError
from evoprune.experiment.resolve import Resolved, resolve_at
from evoprune.interfaces.problem import Evaluation
from evoprune.records import run_folder
from evoprune.records.recorded import Key
from evoprune.search.resume import resume
from evoprune.search.run import run


def run_to_its_end(
    resolved: Resolved, place: Path, how: Execution, known: Mapping[Key, Evaluation] = MappingProxyType({})
) -> None:
    """Run ``resolved`` in ``place``, or continue what is there; nothing if it is finished.

    ``known`` as in :func:`evoprune.search.run.run`, which this raises as.
    """
    if (place / run_folder.RESULT).exists():
        return
    if (place / run_folder.ENVIRONMENT).exists():
        resume(place, (), how)
        return
    if place.exists():  # it ended before it scored anything
        run_folder.discard(place)
    run(resolved, place, how, known)


def refuse_other(resolved: Resolved, place: Path, instead: str) -> None:
    """Raise :class:`InputError` if the run in ``place``, finished or not, is of another experiment.

    ``instead``: what to do then.
    """
    path = place / run_folder.CONFIG
    if path.exists() and resolve_at(path, ()).config() != resolved.config():
        raise InputError(f"holds a run of another experiment; {instead}", str(place))

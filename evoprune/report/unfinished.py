"""A run that has no result, as one that has: its best so far, and the sound lines of its history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune import api
from evoprune.errors import InputError
from evoprune.interfaces.result import Best, Result
from evoprune.records import recorded
from evoprune.records.history import may_win
from evoprune.records.run_folder import HISTORY
from evoprune.records.status import look


class NothingYet(InputError):
    """Too little is scored for a report; that may change while runs continue."""


def so_far(folder: Path) -> tuple[api.Run, list[dict[str, Any]]]:
    """The run in ``folder`` as it stands, and its history. Raises :class:`NothingYet` while nothing is scored."""
    if not (folder / HISTORY).exists() and look(folder).is_running:
        raise NothingYet("has only begun", str(folder))
    resolved = api.read_experiment(folder)
    weights = resolved.problem.weights_of(resolved.settings)
    lines = list(recorded.lines(folder / HISTORY))
    whole = [line for line in lines if may_win(line) and not line.get("failure")]
    if not whole:
        raise NothingYet("no candidate has been scored on all the data yet", str(folder))
    line = max(whole, key=lambda line: [w * value for w, value in zip(weights, line["fitness"], strict=True)])
    best = Best(genome=line["genome"], fitness=line["fitness"], candidate=line["candidate"])
    scores = [line for line in lines if "candidate" in line and not line["memo"]]
    return api.Run(folder, resolved, Result(best=best, evaluations=len(scores), seed=resolved.experiment.seed)), lines

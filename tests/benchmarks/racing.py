"""What racing would save: searches are recorded window by window, and replayed with candidates dropped early.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.racing OUT.jsonl --seeds 0 1

Each search is of ``problems/gpt2_mini.yaml``. The rival of a candidate that is scored on all windows is the best one of
the generations before. The table says what share of all tokens of the search would have been saved by

- *again*: not scoring a candidate again on the windows that it was screened on;
- *at most*: dropping each that loses to its rival after its first window, as nobody can know;
- *sound*: dropping it as soon as the sum of its losses is above its rival's over all windows (losses are at least 0);
- *paired*: dropping it after half of the windows, or after any of them, if by the differences to its rival so far it
  will lose by more than so many standard errors; and how many that win are lost by that.

A file that is there already is completed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from evoprune.api import run
from evoprune.records.history import may_win
from evoprune.records.recorded import lines
from evoprune.records.run_folder import HISTORY
from problems.evaluation.objectives import Objective
from problems.evaluation.session import Fitness
from tests.benchmarks.results import Line, Results

FILE, WINDOW, WINDOWS = "problems/gpt2_mini.yaml", 256, 8
SCORES = {"magnitude": "perplexity", "gblm": "kl"}
"""Scores of weights, and the objective that each is searched with."""

ALGORITHMS = {
    "level_switching": "level_switching",
    "equal_marginals": "{use: equal_marginals, probe: 0.08, screening: 0.25}",
}
ERRORS = (1.0, 2.0)
"""Standard errors of the paired test."""

Losses = list[float]
"""The loss summed over each window, in nats."""

Drops = Callable[[Losses, Losses], bool]
"""Whether a candidate with the first losses, as many as are known, is dropped; all losses of its rival."""


class _Recording(Objective):
    """An objective that also notes what each window adds."""

    def __init__(self, recorded: Objective) -> None:
        self._recorded, self.losses = recorded, [0.0] * WINDOWS

    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        loss = self._recorded.add(logits, targets, first)
        self.losses[first // (WINDOW - 1)] += float(loss)
        return loss

    def value(self, total: float, predictions: int) -> float:
        return self._recorded.value(total, predictions)


def searched(algorithm: str, score: str, seed: int, evaluations: int) -> Line:
    """A search, see :func:`replayed`."""
    losses: dict[tuple[float, ...], Losses] = {}
    plain = Fitness.value

    def recorded(self: Fitness, genome: Sequence[float], fidelity: float = 1.0) -> tuple[float, int]:
        own, self._objective = self._objective, (recording := _Recording(self._objective))
        try:
            return plain(self, genome, fidelity)
        finally:
            self._objective = own
            if fidelity == 1:
                losses[tuple(genome)] = recording.losses

    settings = {
        "operators.algorithm": ALGORITHMS[algorithm],
        "operators.mutate": "{use: exchange, step: 0.1, moves: 3}",
        "problem.batch_tokens": WINDOW,  # so that no batch holds two windows
        "problem.score": score,
        "problem.objective": SCORES[score],
        "problem.curve": [],
        "problem.report_text.windows": 1,
        "problem.held_out_windows": 0,
        "budget": evaluations * WINDOWS * WINDOW,
        "generations": 100_000,
        "seed": seed,
    }
    with TemporaryDirectory() as folder, patch.object(Fitness, "value", recorded):
        done = run(FILE, [f"{key}={value}" for key, value in settings.items()], runs_dir=folder)
        return replayed(list(lines(done.folder / HISTORY)), losses)


def replayed(lines: Sequence[Line], losses: dict[tuple[float, ...], Losses]) -> Line:
    """Of the search with the history ``lines``: the ``windows`` scored, those scored ``again``, and its ``races``.

    A race holds the losses of a candidate that is scored on all windows, and those of its rival. ``losses``: those of
    each genome on all windows.
    """
    best: Losses = []
    younger: list[Losses] = []
    screened: dict[tuple[float, ...], int] = {}
    windows = again = 0
    races = []
    for line in lines:
        if "candidate" not in line:
            best = min([best, *younger] if best else younger, key=sum, default=best)
            younger = []
        elif not line["memo"]:
            genome, share = tuple(line["genome"]), line.get("fidelity", 1.0)
            count = max(1, math.ceil(share * WINDOWS))
            windows += count
            known = screened.get(genome, 0)
            again += min(known, count)
            screened[genome] = max(known, count)
            if may_win(line):
                younger.append(losses[genome])
                if best:
                    races.append({"losses": losses[genome], "rival": best})
    return {"windows": windows, "again": again, "races": races}


def sound(known: Losses, rival: Losses) -> bool:
    """See the module."""
    return sum(known) > sum(rival)


def paired(errors: float, after: Sequence[int]) -> Drops:
    """See the module. ``after``: the numbers of windows after which the test is made."""

    def drops(known: Losses, rival: Losses) -> bool:
        if len(known) not in after:
            return False
        behind = [mine - other for mine, other in zip(known, rival, strict=False)]
        left, seen = len(rival) - len(known), len(known)
        error = stdev(behind) * math.sqrt(left + left**2 / seen)  # of the sum of those to come, foretold by their mean
        return sum(behind) + left * mean(behind) > errors * error

    return drops


def _wins(race: Line) -> bool:
    return sum(race["losses"]) < sum(race["rival"])


def saved(line: Line, drops: Drops) -> tuple[float, int]:
    """The share of the windows of the search ``line`` that are not scored, and how many that win are lost."""
    less = lost = 0
    for race in line["races"]:
        own, rival = race["losses"], race["rival"]
        for known in range(1, WINDOWS):
            if drops(own[:known], rival):
                less += WINDOWS - known
                lost += _wins(race)
                break
    return less / line["windows"], lost


def table(lines: Sequence[Line]) -> str:
    """A row for each algorithm and score: means over seeds, and counts over all of them."""
    half, each = [WINDOWS // 2], range(2, WINDOWS)
    ways = {"sound": sound}
    ways |= {f"paired, half, {errors:g}": paired(errors, half) for errors in ERRORS}
    ways |= {f"paired, each, {errors:g}": paired(errors, each) for errors in ERRORS}
    head = ["algorithm", "score, objective", "seeds", "win", "again", "at most", *ways]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for algorithm, score in dict.fromkeys((line["algorithm"], line["score"]) for line in lines):
        own = [line for line in lines if (line["algorithm"], line["score"]) == (algorithm, score)]
        races = [race for line in own for race in line["races"]]
        cells = [algorithm, f"{score}, {SCORES[score]}", str(len(own)), f"{sum(map(_wins, races))} of {len(races)}"]
        cells.append(f"{mean(line['again'] / line['windows'] for line in own):.1%}")
        losers = [sum(not _wins(race) for race in line["races"]) for line in own]
        most = mean((WINDOWS - 1) * count / line["windows"] for count, line in zip(losers, own, strict=True))
        cells.append(f"{most:.1%}")
        for drops in ways.values():
            found = [saved(line, drops) for line in own]
            cells.append(f"{mean(share for share, _ in found):.1%} ({sum(lost for _, lost in found)} lost)")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--evaluations", type=int, default=110)
    given = parser.parse_args(arguments)
    results = Results(given.out, {"evaluations": given.evaluations})
    for algorithm, score, seed in product(ALGORITHMS, SCORES, given.seeds):
        if results.lacks(algorithm=algorithm, score=score, seed=seed):
            found = searched(algorithm, score, seed, given.evaluations)
            results.add({"algorithm": algorithm, "score": score, "seed": seed} | found)
    print(table(results.lines))


if __name__ == "__main__":
    main()

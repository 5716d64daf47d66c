"""Kills runs, workers and all, and checks that nothing is lost; prints a table, exits with 1 if a law is broken.

Run it from the project's folder; 60 kills take about ten minutes:

    python -m tests.kills.kills
    python -m tests.kills.kills --kills 20 --only idle

Every kill is a SIGKILL. Kinds, in turn for processes, scoop and dask:

    main   the process that holds the run, at a random moment; every other time in the middle
           of a write, in a run whose lines are so long that a kill can cut one
    busy   a worker that is at an evaluation
    idle   a worker that has nothing to do while another one is at the generation's last

A run that a kill ended is resumed. Laws: the history and the result are those of a run that was
not disturbed, times aside; no candidate that the history held is scored again; no process stays
behind; a killed main process is a failure; with processes and dask a killed worker is none; with
scoop the run ends, or stops with exit code 3; nothing hangs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.kills.trial import BACKENDS, KINDS, Outcome, Trial, undisturbed

_LAWS: dict[str, Callable[[Outcome], bool]] = {
    "the history or the result differs": lambda end: end.same,
    "candidates of the history were scored again": lambda end: not end.again,
    "processes stayed behind": lambda end: not end.left,
    "it hung": lambda end: not end.hung,
    "exit code 0 on failure": lambda end: end.kind != "main" or end.code != 0,
    "it did not go on without its worker": lambda end: (
        end.kind == "main" or end.code in ([0, 3] if end.backend == "scoop" else [0])
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill as ``arguments`` ask, and print what came of it."""
    parser = argparse.ArgumentParser(description="kills runs and checks that nothing is lost")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--only", choices=KINDS, action="append", help="kinds of kills; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--jobs", type=int, default=1, help="trials at once; they mostly wait")
    options = parser.parse_args(arguments)
    kinds = options.only or KINDS
    with tempfile.TemporaryDirectory() as folder:
        outcomes = _kill_all(Path(folder), kinds, options)
    print("\n".join(_table(outcomes)))
    broken = list(_broken(outcomes))
    print("\n".join(broken) or f"all laws kept by {len(outcomes)} kills")
    return 1 if broken else 0


def _kill_all(folder: Path, kinds: Sequence[str], options: argparse.Namespace) -> list[Outcome]:
    trials = []
    for number in range(options.kills):
        kind, turn = kinds[number % len(kinds)], number // len(kinds)
        backend = BACKENDS[(number + turn) % len(BACKENDS)]
        trials.append(Trial(folder / str(number), kind, backend, writing=kind == "main" and turn % 2 == 0))
    whole = {wide: undisturbed(folder, wide) for wide in {trial.writing for trial in trials}}

    def kill(number: int) -> Outcome:
        outcome = trials[number].outcome(random.Random(options.seed * 1_000_000 + number), whole)
        print(f"{number + 1}/{options.kills}: {outcome}", file=sys.stderr, flush=True)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(kill, range(options.kills)))


def _table(outcomes: Iterable[Outcome]) -> Iterator[str]:
    groups = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind, outcome.backend].append(outcome)
    yield "| killed | backend | kills | ended by itself | exit code 3 | other failure | lines cut | scored again |"
    yield "|---|---|---|---|---|---|---|---|"
    for (kind, backend), ends in sorted(groups.items()):
        codes = [end.code for end in ends]
        counts = [len(ends), codes.count(0), codes.count(3), len(codes) - codes.count(0) - codes.count(3)]
        counts += [sum(end.cut for end in ends), sum(len(end.again) for end in ends)]
        yield f"| {kind} | {backend} | {' | '.join(map(str, counts))} |"
    yield ""


def _broken(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        for law, kept in _LAWS.items():
            if not kept(outcome):
                yield f"BROKEN: {law}: {outcome}"


if __name__ == "__main__":
    sys.exit(main())

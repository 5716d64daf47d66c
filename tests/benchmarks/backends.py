"""Measures what the backends cost and gain; prints tables, and asserts no times.

Run it from the project's folder, on a machine that does nothing else:

    python -m tests.benchmarks.backends
    python -m tests.benchmarks.backends --sections cost --costs 0.001 0.01

Sections:

    scaling   candidates a second of 1 and of 2 workers with one thread each, on the bundled model,
              and of 2 runs that know nothing of each other: what the machine itself gives
    cost      the share of 2 workers' time that goes into evaluations, for evaluations of 1 ms to
              10 s; they sleep, so that all else is overhead: the backend's and the engine's
    tail      what a generation of 20 wastes of 2 workers' time when one candidate takes ten times
              as long as the others

Times are between the first generation's end and the last one's: starting workers is left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from evoprune.records import history
from tests.benchmarks.launch import BACKENDS, begin

SECTIONS = ("scaling", "cost", "tail")

_PATIENT = {
    "plugins": "[tests.patient]",
    "problem": "{use: 'tests.patient:PatientBenchmark', function: rastrigin, dimensions: 4}",
    "operators.algorithm": "random_search",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what ``arguments`` ask for."""
    parser = argparse.ArgumentParser(description="measures the backends")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--costs", nargs="+", type=float, default=[0.001, 0.01, 0.1, 1, 10], metavar="SECONDS")
    parser.add_argument("--windows", type=int, default=16, help="of 256 tokens, for scaling")
    parser.add_argument("--rounds", type=int, default=3, help="of scaling; the medians are printed")
    options = parser.parse_args(arguments)
    tables = {
        "scaling": lambda folder: _scaling(folder, options.backends, options.windows, options.rounds),
        "cost": lambda folder: _cost(folder, options.backends, options.costs),
        "tail": lambda folder: _tail(folder, options.backends),
    }
    with tempfile.TemporaryDirectory() as folder:
        for section in options.sections:
            print(f"\n{section}\n", flush=True)
            for line in tables[section](Path(folder)):
                print(line, flush=True)
    return 0


def _scaling(folder: Path, backends: Sequence[str], windows: int, rounds: int) -> Iterator[str]:
    settings = {
        "problem.reuse_mib": "0",  # what a worker remembers of relatives would make costs depend on who gets whom
        "problem.search_text.windows": str(windows),
        "problem.report_text.windows": "1",
        "problem.curve": "[]",
        "operators.algorithm": "random_search",
        "population": "20",
        "generations": "1",
    }
    experiment = "problems/gpt2_mini.yaml"
    rates: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        for backend in backends:
            for workers in (1, 2):
                run = begin(experiment, folder / f"{backend}-{workers}-{number}", backend, workers, settings)
                rates.setdefault((backend, workers), []).append(_rate(run.finished()))
        together = [begin(experiment, folder / f"{one}-{number}", "serial", 1, settings) for one in ("left", "right")]
        rates.setdefault(("two separate runs", 2), []).append(sum(_rate(run.finished()) for run in together))
        alone = begin(experiment, folder / f"alone-{number}", "serial", 1, settings)
        rates.setdefault(("two separate runs", 1), []).append(_rate(alone.finished()))
    yield "| backend | 1 worker, candidates/s | 2 workers | times |"
    yield "|---|---|---|---|"
    for name in dict.fromkeys(name for name, _ in rates):
        one, two = (median(rates[name, workers]) for workers in (1, 2))
        yield f"| {name} | {one:.2f} | {two:.2f} | {two / one:.2f} |"


def _rate(record: Sequence[history.Line]) -> float:
    """Candidates a second after the first generation."""
    first, *_, last = (line for line in record if "median" in line)
    return (last["evaluations"] - first["evaluations"]) / (last["seconds"] - first["seconds"])


def _cost(folder: Path, backends: Sequence[str], costs: Sequence[float]) -> Iterator[str]:
    yield f"| one evaluation | {' | '.join(backends)} |"
    yield "|---" * (1 + len(backends)) + "|"
    for seconds in costs:
        population = max(2, min(400, 2 * round(2 / seconds)))
        settings = _PATIENT | {"problem.seconds": str(seconds), "population": str(population), "generations": "1"}
        shares = []
        for backend in backends:
            record = begin("problems/rastrigin.yaml", folder / f"{backend}-{seconds}", backend, 2, settings).finished()
            shares.append(_rate(record) * seconds / 2)
        yield f"| {seconds:g} s | {' | '.join(f'{share:.0%}' for share in shares)} |"


def _tail(folder: Path, backends: Sequence[str]) -> Iterator[str]:
    settings = _PATIENT | {"problem.seconds": "0.1", "population": "20", "generations": "1"}
    first_genes = sorted(
        line["genome"][0]
        for line in begin("problems/rastrigin.yaml", folder / "once", "serial", 1, settings).finished()
        if line.get("generation") == 1 and "candidate" in line
    )
    settings["problem.slow_above"] = str(sum(first_genes[-2:]) / 2)
    yield "| backend | seconds of the slow one | seconds wasted |"
    yield "|---|---|---|"
    for backend in backends:
        record = begin("problems/rastrigin.yaml", folder / f"{backend}-tail", backend, 2, settings).finished()
        ends = [line["seconds"] for line in record if "median" in line]
        spent = [line["seconds"] for line in record if line.get("generation") == 1 and "candidate" in line]
        yield f"| {backend} | {max(spent):.2f} | {2 * (ends[1] - ends[0]) - sum(spent):.2f} |"


if __name__ == "__main__":
    sys.exit(main())

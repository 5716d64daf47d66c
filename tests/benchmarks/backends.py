"""Measure the overhead of the backends; print tables, and assert no times.

Run it from the project's folder, on a machine that does nothing else:

    python -m tests.benchmarks.backends --costs 0.001 0.01 0.1 1 10

The first table has the share of 2 workers' time that goes into evaluations of 1 ms to 10 s; they sleep, so that the
rest is overhead of the backend and the engine. The second one has the waste of 2 workers' time in a generation of 20
whose slowest candidate takes ten times as long as the others. Times are between the ends of the first generation and
the last one: starting workers is left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evoprune.experiment import registry
from evoprune.records import history, recorded, run_folder

BACKENDS = ("processes", "scoop", "dask")

_SETTINGS = {
    "plugins": "[tests.patient]",
    "problem": "{use: 'tests.patient:PatientBenchmark', function: rastrigin, dimensions: 4}",
    "operators.algorithm": "random_search",
    "generations": "1",
}


def record(folder: Path, backend: str, settings: Mapping[str, str]) -> list[history.Line]:
    """The history of a run with two workers of one thread each."""
    command = [sys.executable, "-m", "evoprune", "run", "problems/rastrigin.yaml", "--runs-dir", str(folder.parent)]
    command += ["--name", folder.name, "--threads", "1", "--map", backend]
    command += ["-n", "2"] if backend != "serial" else []
    for key, value in (_SETTINGS | dict(settings)).items():
        command += ["--set", f"{key}={value}"]
    environment = os.environ | {"PYTHONPATH": str(registry.HOME.parent)}
    subprocess.run(command, check=True, env=environment, cwd=registry.HOME.parent, stdout=subprocess.DEVNULL)
    return list(recorded.lines(folder / run_folder.HISTORY))


def overhead(folder: Path, backends: Sequence[str], costs: Sequence[float]) -> Iterator[str]:
    """The first table."""
    yield f"| one evaluation | {' | '.join(backends)} |"
    yield "|---" * (1 + len(backends)) + "|"
    for seconds in costs:
        population = max(2, min(400, 2 * round(2 / seconds)))
        settings = {"problem.seconds": str(seconds), "population": str(population)}
        shares = []
        for backend in backends:
            first, *_, last = (
                line for line in record(folder / f"{backend}-{seconds}", backend, settings) if "median" in line
            )
            rate = (last["evaluations"] - first["evaluations"]) / (last["seconds"] - first["seconds"])
            shares.append(rate * seconds / 2)
        yield f"| {seconds:g} s | {' | '.join(f'{share:.0%}' for share in shares)} |"


def tail(folder: Path, backends: Sequence[str]) -> Iterator[str]:
    """The second table."""
    settings = {"problem.seconds": "0.1", "population": "20"}
    second = [line for line in record(folder / "once", "serial", settings) if line.get("generation") == 1]
    first_genes = sorted(line["genome"][0] for line in second if "candidate" in line)
    settings["problem.slow_above"] = str(sum(first_genes[-2:]) / 2)
    yield "| backend | seconds of the slow one | seconds wasted |"
    yield "|---|---|---|"
    for backend in backends:
        lines = record(folder / f"{backend}-tail", backend, settings)
        ends = [line["seconds"] for line in lines if "median" in line]
        spent = [line["seconds"] for line in lines if line.get("generation") == 1 and "candidate" in line]
        yield f"| {backend} | {max(spent):.2f} | {2 * (ends[1] - ends[0]) - sum(spent):.2f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--costs", nargs="+", type=float, default=[0.001, 0.01, 0.1, 1, 10], metavar="SECONDS")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for line in overhead(Path(folder), options.backends, options.costs):
            print(line, flush=True)
        for line in tail(Path(folder), options.backends):
            print(line, flush=True)


if __name__ == "__main__":
    main()

"""Share of two workers' time that goes into evaluations of 1 ms to 1 s, which sleep: ``python -m
tests.benchmarks.backends``. Run it on a machine that does nothing else.

The rest is overhead of the backend and of the engine, between the ends of the first generation and of the last one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from evoprune.experiment import registry
from evoprune.records import recorded, run_folder
from evoprune.records.history import is_generation
from tests.benchmarks.common import head, row

BACKENDS, COSTS = ("processes", "scoop", "dask"), (0.001, 0.01, 0.1, 1.0)

_PROBLEM = "{{use: 'tests.patient:PatientBenchmark', function: rastrigin, dimensions: 4, seconds: {seconds}}}"


def share(folder: Path, backend: str, seconds: float) -> float:
    """Run two workers of one thread each, and return the share of their time."""
    command = [sys.executable, "-m", "evoprune", "run", "problems/rastrigin.yaml", "--runs-dir", str(folder.parent)]
    command += ["--name", folder.name, "--threads", "1", "--map", backend, "-n", "2"]
    population = max(2, min(400, 2 * round(2 / seconds)))
    for setting in (
        "plugins=[tests.patient]", f"problem={_PROBLEM.format(seconds=seconds)}",
        "operators.algorithm=random_search", "generations=1", f"population={population}",
    ):  # fmt: skip
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(registry.HOME.parent)}
    subprocess.run(command, check=True, env=environment, cwd=registry.HOME.parent, stdout=subprocess.DEVNULL)
    first, *_, last = (line for line in recorded.lines(folder / run_folder.HISTORY) if is_generation(line))
    rate = (last["evaluations"] - first["evaluations"]) / (last["seconds"] - first["seconds"])
    return float(rate * seconds / 2)


def main() -> None:
    """Print the table."""
    print(head("one evaluation", *BACKENDS))
    with TemporaryDirectory() as folder:
        for seconds in COSTS:
            shares = (share(Path(folder, f"{backend}-{seconds}"), backend, seconds) for backend in BACKENDS)
            print(row(f"{seconds:g} s", *(f"{each:.0%}" for each in shares)), flush=True)


if __name__ == "__main__":
    main()

"""Backends evaluate genomes, in this process or in others; :func:`start` starts one."""

from evoprune.backends.base import Backend, Lost, Serial
from evoprune.backends.execution import Execution
from evoprune.console.progress import Progress


def start(execution: Execution, slowest: float) -> Backend:
    """Start the backend that a decided ``execution`` names. ``slowest``: seconds for building the problem."""
    # imported where needed: each brings in packages of its own
    with Progress("starting the workers"):
        if execution.map == "scoop":
            from evoprune.backends.scoop import Scoop

            return Scoop(execution, slowest)
        if execution.map == "dask":
            from evoprune.backends.dask import Dask

            return Dask(execution, slowest)
        if execution.map == "processes":
            from evoprune.backends.processes import Processes

            return Processes(execution, slowest)
        if execution.map != "serial":
            from evoprune.backends.executor import Executing

            return Executing(execution, slowest)
        return Serial()

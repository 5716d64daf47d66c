"""Backends evaluate genomes: one a file, each started by :func:`start`."""

from __future__ import annotations

from evoprune.backends.base import Backend, Stalled
from evoprune.backends.execution import Execution
from evoprune.console.phase import Phase


def start(execution: Execution, slowest: float) -> Backend:
    """Start the backend that ``execution`` names; all of its options must be decided.

    ``slowest``: seconds that the first evaluations may take, since they build the problem.
    Raises :class:`evoprune.InputError` where it cannot be started.
    """
    # imported where needed: each brings in packages of its own
    with Phase("starting the workers"):
        if execution.map == "scoop":
            from evoprune.backends.scoop import Scoop

            return Scoop(execution, slowest)
        if execution.map == "dask":
            from evoprune.backends.dask import Dask

            return Dask(execution, slowest)
        if execution.map == "processes":
            from evoprune.backends.processes import Processes

            return Processes(execution.places, execution.stall_after, slowest)
        from evoprune.backends.serial import Serial

        return Serial()


__all__ = ["Backend", "Stalled", "start"]

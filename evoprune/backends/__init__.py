"""Where evaluations are made: one backend a file, each started by :func:`start`."""

from __future__ import annotations

from evoprune.backends import seat
from evoprune.backends.base import Backend, Stalled
from evoprune.backends.evaluation import Place, settle
from evoprune.backends.execution import Execution


def settle_main_process(execution: Execution) -> None:
    """Give the main process its device and threads: those of a worker, so that it rounds as they do."""
    if execution.map == "scoop":  # there, it is a worker itself
        seat.sit(execution.devices, execution.threads)
    else:
        settle(Place(execution.devices[0] if execution.devices else None, execution.threads))


def start(execution: Execution, slowest: float) -> Backend:
    """The backend that ``execution``, in which all is decided, names.

    ``slowest``: seconds that the first evaluations may well take, as building the problem did.
    Raises :class:`evoprune.InputError` where it cannot be started.
    """
    # imported where needed: each brings in packages of its own
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


__all__ = ["Backend", "Stalled", "settle_main_process", "start"]

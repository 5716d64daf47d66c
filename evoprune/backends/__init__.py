"""Where evaluations are made: one backend a file, each started by :func:`start`."""

from __future__ import annotations

from evoprune.backends.base import Backend
from evoprune.execution import Execution


def start(execution: Execution, slowest: float) -> Backend:
    """The backend that ``execution``, in which all is decided, names.

    ``slowest``: seconds that the first evaluations may well take, as building the problem did.
    Raises :class:`evoprune.InputError` where it cannot be started.
    """
    from evoprune.backends.serial import Serial

    return Serial()


__all__ = ["Backend", "start"]

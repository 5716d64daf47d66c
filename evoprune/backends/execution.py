"""Execution of an experiment: workers, devices and threads, which change no random draw."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from numbers import Integral, Real

from evoprune.backends.evaluation import AUTO
from evoprune.console.errors import InputError, as_tuple, cut_repr
from evoprune.interfaces.problem import Problem

MAPS = ("serial", "processes", "scoop", "dask")
_EACH_CORE = 8  # most workers or threads per core; some wait for a GPU or a program
_CLUSTER = 100_000  # of several hosts


@dataclass(frozen=True)
class Execution:
    """Options of a run outside its experiment; None is decided later.

    ``map``: one of :data:`MAPS`, or ``module:factory`` of a function that returns a ``concurrent.futures.Executor``.
    ``workers``: evaluations at once. ``devices``: of the workers, empty for all that the problem finds. ``threads``: of
    the CPU, for each evaluation. ``stall_after``: seconds without a result after which the run stops. ``figures``: of
    the search, drawn at its end. ``shared``: whether other processes may score candidates, too.
    """

    map: str | None = None
    workers: int | None = None
    devices: tuple[str, ...] = ()
    threads: int | None = None
    scheduler: str | None = None
    hostfile: str | None = None
    stall_after: float | None = None
    figures: bool = True
    shared: bool = False

    def __post_init__(self) -> None:
        most, why = _CLUSTER, ""
        if self._is_here:
            most, why = _EACH_CORE * _cores(), f" ({_EACH_CORE} for each of the {_cores()} cores of this machine)"
        for option, count in {"-n": self.workers, "--threads": self.threads}.items():
            if count is not None and not (isinstance(count, Integral) and 1 <= count <= most):
                raise InputError(f"expected a number between 1 and {most}{why}, got {cut_repr(count)}", option)
        seconds = self.stall_after
        if seconds is not None and not (isinstance(seconds, Real) and 0 < seconds < float("inf")):
            raise InputError(f"expected seconds above 0, got {cut_repr(seconds)}", "--stall-after")
        if self.map not in (None, *MAPS) and not self._is_executor:
            expected = f"one of {', '.join(MAPS)}, or module:factory of an executor"
            raise InputError(f"expected {expected}, got {cut_repr(self.map)}", "--map")
        for device in as_tuple(self.devices, "--devices"):
            if not isinstance(device, str) or not re.fullmatch(r"[a-z]+(:\d{1,4})?", device):
                got = cut_repr(device)
                raise InputError(f"expected auto, or devices such as cpu or cuda:0,cuda:1, got {got}", "--devices")
        if self.map == "serial" and (self.workers or 1) > 1:
            raise InputError("serial has one worker; take processes, scoop or dask for more", "--map")
        for option, value, only in (("--scheduler", self.scheduler, "dask"), ("--hostfile", self.hostfile, "scoop")):
            if value is not None and self.map != only:
                raise InputError(f"is for --map {only} alone", option)

    @property
    def places(self) -> list[str | None]:
        """The device of each worker; None for the problem's choice."""
        devices = self.devices or (None,)
        return [devices[number % len(devices)] for number in range(self.workers or 1)]

    def in_words(self) -> str:
        given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # nested regions follow
        threads = self.threads or (int(given) if given.isdigit() else _cores())
        workers = f"{self.workers} worker{'s' * ((self.workers or 1) > 1)}"
        places = f", on {', '.join(self.devices)}" if self.devices else ""
        return f"{workers} with {threads} thread{'s' * (threads > 1)}{places} (-n, --threads and --devices change it)"

    def with_threads(self) -> Execution:
        """The same, with ``threads`` decided: each of several workers gets its share of the cores."""
        if self.threads is not None or self.workers is None or self._map == "serial":
            return self
        return replace(self, threads=max(1, _cores() // self.workers))

    def decided(self, problem: type[Problem], device: str = AUTO) -> Execution:
        """The same, with every option decided for ``problem`` on this host. ``device``: of the settings.

        Raises :class:`InputError` for a device that this host lacks, unless others may have it.
        """
        if self._is_here and (absent := [device for device in self.devices if not problem.has_device(device)]):
            there = ", ".join(["cpu", *problem.devices()])
            raise InputError(f"this machine has no {', '.join(absent)}; it has {there}", "--devices")
        available = tuple(problem.devices()) if device == AUTO else (device,)  # each worker would take it
        devices = self.devices or available
        workers = self.workers
        if workers is None:
            one = self.map == "serial" or (self.map is None and len(devices) <= 1)
            workers = 1 if one else len(devices) if set(devices) - {"cpu"} else _cores()
        decided = replace(self, workers=workers, devices=devices)
        return replace(decided, map=decided._map).with_threads()

    @property
    def _is_here(self) -> bool:
        return self.map not in {"scoop", "dask"} and not self._is_executor

    @property
    def _is_executor(self) -> bool:
        return isinstance(self.map, str) and ":" in self.map

    @property
    def _map(self) -> str:
        return self.map or ("processes" if (self.workers or 1) > 1 else "serial")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

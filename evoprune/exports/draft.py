"""A draft of the file that a planned run promised: the best candidate so far, until the export replaces it."""

import time
from collections.abc import Sequence
from pathlib import Path

from evoprune.console.phase import Phase, note
from evoprune.errors import InputError
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import refuse_unless_free
from evoprune.files.places import part_of
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import part
from evoprune.interfaces.problem import Problem
from evoprune.records.promise import Promise
from evoprune.records.run_folder import PROMISED

_PAUSE = 5.0  # times that the last draft took, before the next one


class Draft:
    """Writes the draft of the run in ``folder`` to ``out``, None unless one was promised and ``problem`` can."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._folder, self._exporting = folder, part(problem, Exporting)
        promise = Promise.read(folder) if self._exporting else None
        self.out = Path(promise.out) if promise and promise.out else None
        self._written: Sequence[float] | None = None
        self._next = self.seconds = 0.0
        """Seconds that the last draft took."""

    def write(self, genome: Sequence[float], now: bool = False, told: str = "") -> None:
        """Write ``genome``, unless it is written already, or the last one was not long ago; ``now``: even then.

        ``told``: about its quality, for people.
        """
        out, start = self.out, time.monotonic()
        if out is None or self._exporting is None or genome == self._written or (start < self._next and not now):
            return
        try:
            promise = Promise.read(self._folder) or Promise()
            if not is_draft(promise, out):
                refuse_unless_free(out, is_file=True)
            with Phase(f"writing {out}"), part_of(out) as place:
                options = check_parameters(self._exporting.ExportOptions, promise.options, PROMISED)
                if not self._exporting.draft(genome, place / out.name, options):
                    self.out = None
                    return
                marks = [*promise.draft[-1:], _mark(place / out.name)]  # a kill may come before the file is replaced
                promise.model_copy(update={"draft": marks}).write(self._folder)
                (place / out.name).replace(out)
        except (InputError, OSError) as error:  # the export will say the same, at the end
            note(f"{out} is not written before the end: {error}")
            self.out = None
            return
        note(f"{out} holds the best candidate so far: {told}")
        self._written, self.seconds = genome, time.monotonic() - start
        self._next = time.monotonic() + _PAUSE * self.seconds


def is_draft(promise: Promise | None, out: Path) -> bool:
    """Return whether ``out`` is the file that a run with this ``promise`` wrote before its end, and nothing else."""
    if not promise or promise.out != str(out.absolute()) or out.is_symlink() or not out.is_file():
        return False
    return _mark(out) in promise.draft


def _mark(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]

"""A draft of the file that a planned run promised: the best candidate so far, until the export replaces it."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evoprune.console.phase import Phase, note
from evoprune.errors import InputError
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import part_of, refuse_unless_free
from evoprune.files.json_files import read_json, write_json
from evoprune.interfaces.export import Exporting
from evoprune.records.run_folder import PROMISED

_DRAFT = "draft"  # the key of promised.json: marks of the last two files that were written
_PAUSE = 5.0  # times that the last draft took, before the next one


class Draft:
    """Writes the draft of the run in ``folder`` to ``out``, None unless one was promised and ``problem`` can."""

    def __init__(self, folder: Path, problem: Any) -> None:
        self._folder, self._problem = folder, problem
        self.out = promised_file(folder) if isinstance(problem, Exporting) else None
        self._written: Sequence[float] | None = None
        self._next = 0.0

    def write(self, genome: Sequence[float], now: bool = False) -> None:
        """Write ``genome``, unless it is written already, or the last one was not long ago; ``now``: even then."""
        out, start = self.out, time.monotonic()
        if out is None or genome == self._written or (start < self._next and not now):
            return
        promise = read_json(self._folder / PROMISED)
        part = part_of(out)
        try:
            if not is_draft(self._folder, out):
                refuse_unless_free(out, is_file=True)
            with Phase(f"writing {out}"):
                part.mkdir(parents=True)
                options = check_parameters(self._problem.ExportOptions, promise.get("options", {}), PROMISED)
                if not self._problem.draft(genome, part / out.name, options):
                    self.out = None
                    return
                marks = [*promise.get(_DRAFT, [])[-1:], _mark(part / out.name)]  # a kill may come before the next line
                write_json(self._folder / PROMISED, promise | {_DRAFT: marks})
                (part / out.name).replace(out)
        except (InputError, OSError) as error:  # the export will say the same, at the end
            note(f"{out} is not written before the end: {error}")
            self.out = None
            return
        finally:
            shutil.rmtree(part, ignore_errors=True)
        if self._written is None:
            note(f"{out} holds the best candidate so far; better ones replace it")
        self._written = genome
        self._next = time.monotonic() + _PAUSE * (time.monotonic() - start)


def promised_file(folder: Path) -> Path | None:
    """The path that the run in ``folder`` is to be exported to, if any."""
    out = read_json(folder / PROMISED).get("out") if (folder / PROMISED).exists() else None
    return Path(out) if isinstance(out, str) else None


def is_draft(folder: Path, out: Path) -> bool:
    """Return whether ``out`` is the file that the run in ``folder`` wrote before its end, and nothing else."""
    if out.is_symlink() or not out.is_file() or out.absolute() != promised_file(folder):
        return False
    return _mark(out) in read_json(folder / PROMISED).get(_DRAFT, [])


def _mark(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]

"""``promised.json``: the export and the page that follow a run, by the command that planned it."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from evoprune.experiment.explain import validated
from evoprune.files.json_files import read_json, write_json
from evoprune.records.run_folder import PROMISED


class Promise(BaseModel):
    """The work that remains after a run, of its ``command``: the page, and the export to ``out``, if any.

    ``seconds``, ``searching``: of work on the run, and on the search in it, at most; None for no limit. ``planning``:
    seconds that it took to plan.
    ``draft``: size and time of change of the last two files that :mod:`evoprune.exports.draft` wrote.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    out: str | None = None
    options: dict[str, Any] = {}
    seconds: float | None = None
    searching: float | None = None
    planning: float = 0.0
    command: list[str] = []
    draft: list[list[int]] = []

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the promise of the run in ``folder``, if any. Raises :class:`InputError` for a damaged one."""
        path = folder / PROMISED
        return validated(cls, read_json(path), str(path)) if path.exists() else None

    def write(self, folder: Path) -> None:
        write_json(folder / PROMISED, self.model_dump())

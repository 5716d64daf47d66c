"""What a command like ``prune`` still does after its run: a page, and an export where one was asked for.

The run's folder says so until it is done. Where the command was interrupted, ``resume`` does it.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.backends.evaluation import this_worker
from evoprune.errors import InputError
from evoprune.files.json_files import read_json
from evoprune.records import run_folder


def keep(folder: Path) -> None:
    """Write what the run in ``folder`` was begun for, if anything is left of that. Raises as :meth:`Run.export`."""
    promise = folder / run_folder.PROMISED
    if not promise.exists():
        return
    from evoprune.report import write  # brings in Jinja2 and matplotlib, which --help should not wait for

    out, options = _read(promise)
    page, _ = write([folder], folder / "report.html")
    print(f"the page: {page}")
    print(f"to repeat it: python -m evoprune run {shlex.quote(str(folder / run_folder.CONFIG))}")
    if out:
        this_worker.forget()  # there may be no room for two
        try:
            with run_folder.locked(folder):
                exported = Run.open(folder).export(out, **options)
        except KeyboardInterrupt:
            print(f"to continue: python -m evoprune resume {shlex.quote(str(folder))}", file=sys.stderr)
            raise
        print(*exported.summary, sep="\n")
        print(f"written and checked: {out}")
    promise.unlink()


def _read(promise: Path) -> tuple[Path | None, dict[str, Any]]:
    """Where the result is to be exported, None: nowhere; and the options for it."""
    found = read_json(promise)
    out, options = found.get("out"), found.get("options", {})
    if not (out is None or isinstance(out, str)):
        raise InputError(f"out: expected a path or null, got {out!r:.60}", str(promise))
    if not isinstance(options, dict):
        raise InputError(f"options: expected a mapping, got {options!r:.60}", str(promise))
    return Path(out) if out else None, options

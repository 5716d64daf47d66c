"""Places where results will be written, tried before hours of work."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from evoprune.files.json_files import write_text


def try_out(folder: Path, files: Iterable[str] = ()) -> None:
    """Make the new ``folder`` and its parents, write ``files`` there, and delete all of it. Raises OSError."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True)
        for name in files:
            write_text(folder / name, "")
            (folder / name).unlink()
    finally:
        for path in new:
            with suppress(OSError):  # it was not made, or another process uses it by now
                path.rmdir()

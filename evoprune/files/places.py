"""Places where results will be written: made whole or not at all, and tried before hours of work."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def part_of(out: Path) -> Iterator[Path]:
    """Yield a new folder beside ``out`` to make it in; at the end it is deleted, and new parents that are empty.

    Deletes the folders that killed processes left, too. Raises OSError where it cannot be made.
    """
    for path in out.parent.iterdir() if out.parent.is_dir() else ():
        found = re.fullmatch(rf"\.{re.escape(out.name)}\.(\d+)\.part", path.name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)
    new = [path for path in out.parents if not path.exists()]
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for path in new:
            with suppress(OSError):  # it was not made, or holds something by now
                path.rmdir()


def _is_running(pid: int) -> bool:
    """Return whether another process has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return pid != os.getpid()  # in a container, ours may be that of a killed process

"""Starts a command under SCOOP, and returns the command's own exit code, which SCOOP hides.

The process that SCOOP runs the command in, its origin, writes the code into a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from evoprune.errors import InputError
from evoprune.experiment.registry import HOME

_ANSWER = "EVOPRUNE_ANSWER"
"""Names the environment variable that tells the origin where to write the exit code."""

_PATIENCE = 15.0
"""Seconds that SCOOP gets to end by itself."""


def running() -> bool:
    """Whether this process is one of SCOOP's."""
    module = sys.modules.get("scoop")
    return bool(module and module.IS_RUNNING)


def size() -> int | None:
    """How many workers SCOOP started; None outside it."""
    return int(sys.modules["scoop"].SIZE) if running() else None


def launch(arguments: Sequence[str], workers: int | None, hostfile: str | None) -> int:
    """Run ``python -m evoprune *arguments`` under SCOOP and return its exit code.

    1 if it ended without one, because it was killed, for example. All processes started here are ended.
    """
    count = ["-n", str(workers)] if workers else []
    hosts = ["--hostfile", _checked(hostfile)] if hostfile else []
    local = not hosts and not {"SLURM_NODELIST", "PBS_ENVIRONMENT", "PE_HOSTFILE"} & {*os.environ}  # SCOOP's hosts
    scoop = ["evoprune.backends.scoop_loopback", "launcher"] if local else ["scoop"]
    script = str(HOME / "evoprune" / "__main__.py")
    path = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        process = subprocess.Popen(
            [sys.executable, "-m", *scoop, "-q", *count, *hosts, script, *arguments],
            env=os.environ | {_ANSWER: str(answer), "PYTHONPATH": path},
            start_new_session=True,  # a terminal's Ctrl-C comes here alone, and is passed on to the origin alone
        )
        try:
            return _wait(process, answer)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _checked(hostfile: str) -> str:
    try:
        if Path(hostfile).read_text(encoding="utf-8").split():
            return hostfile
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", f"--hostfile {hostfile}") from None
    raise InputError("names no host", f"--hostfile {hostfile}")


def _wait(process: subprocess.Popen[bytes], answer: Path) -> int:
    try:
        while process.poll() is None and not answer.exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        with suppress(OSError, ValueError):
            os.kill(int(_origin(answer).read_text()), signal.SIGTERM)
            _wait_for(answer.exists)
        if not answer.exists():
            raise
    _wait_for(lambda: process.poll() is not None)
    if answer.exists():
        return int(answer.read_text())
    print("evoprune: the command that SCOOP ran ended without an exit code", file=sys.stderr)
    return 1


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def _origin(answer: Path) -> Path:
    """The file that holds the origin's process number."""
    return answer.with_suffix(".pid")


def as_origin(main: Callable[[], int]) -> None:
    """Run ``main`` in SCOOP's origin, and end this process.

    Not by an exception: SCOOP would print it, and could wait for a broker that is gone.
    """
    path = os.environ.get(_ANSWER)
    if path:
        _origin(Path(path)).write_text(str(os.getpid()))
    code = 1
    try:
        code = main()
    except SystemExit as leaving:  # argparse's
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    _shut_down()
    sys.stdout.flush()
    sys.stderr.flush()
    if path:
        whole = Path(path).with_suffix(".tmp")
        whole.write_text(str(code))
        whole.replace(path)
    os._exit(code)


def _shut_down() -> None:
    """Ask SCOOP's workers to end, as far as they can still be reached."""
    import scoop

    with suppress(Exception):
        scoop._control.execQueue.shutdown()

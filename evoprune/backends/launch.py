"""Starts a command under SCOOP, and returns the command's own exit code, which SCOOP hides.

SCOOP's origin, the process with the command, writes the code into a file. On this host alone, SCOOP must listen on
the loopback interface only, as it unpickles all messages: this module replaces its launcher and workers.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evoprune.console.errors import InputError
from evoprune.experiment.registry import HOME
from evoprune.files.locks import lock
from evoprune.records.run_folder import LOCK, locked

_ANSWER = "EVOPRUNE_ANSWER"  # environment variable with the path to which the origin writes the exit code
_PATIENCE = 15.0  # seconds that SCOOP gets to end by itself
_ON_LOOPBACK = "evoprune.backends.launch"
_CLUSTERS = {"SLURM_NODELIST", "PBS_ENVIRONMENT", "PE_HOSTFILE"}  # variables by which SCOOP finds hosts


def running() -> bool:
    """Return whether this process is one of SCOOP's."""
    module = sys.modules.get("scoop")
    return bool(module and module.IS_RUNNING)


def size() -> int | None:
    """Number of workers that SCOOP started; None outside it."""
    return int(sys.modules["scoop"].SIZE) if running() else None


def launch(arguments: Sequence[str], workers: int | None, hostfile: str | None) -> int:
    """Run ``python -m evoprune *arguments`` under SCOOP and return its exit code, 1 if it ended without one."""
    count = ["-n", str(workers)] if workers else []
    if hostfile:
        _check(hostfile)
    hosts = ["--hostfile", hostfile] if hostfile else []
    scoop = ["scoop"] if hosts or _CLUSTERS & {*os.environ} else [_ON_LOOPBACK, "launcher"]
    script = str(HOME / "__main__.py")
    path = os.pathsep.join(filter(None, [str(HOME.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
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


def _check(hostfile: str) -> None:
    try:
        if not Path(hostfile).read_text(encoding="utf-8").split():
            raise ValueError("it names no host")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", f"--hostfile {hostfile}") from None


def _wait(process: subprocess.Popen[bytes], answer: Path) -> int:
    try:
        while process.poll() is None and not answer.exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        with suppress(OSError, ValueError):
            os.kill(int(answer.with_suffix(".pid").read_text()), signal.SIGTERM)
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


def as_origin(main: Callable[[], int]) -> None:
    """Run ``main`` in SCOOP's origin, and end this process; an exception would make SCOOP print and wait."""
    answer = Path(os.environ[_ANSWER]) if _ANSWER in os.environ else None  # none if a user started SCOOP
    if answer:
        answer.with_suffix(".pid").write_text(str(os.getpid()))
        threading.Thread(target=_end_with_launcher, args=(answer,), daemon=True).start()
    code = 1
    try:
        code = main()
    except SystemExit as leaving:  # argparse's
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with suppress(Exception):
        sys.modules["scoop"]._control.execQueue.shutdown()  # of the workers that can still be reached
    sys.stdout.flush()
    sys.stderr.flush()
    if answer:
        whole = answer.with_suffix(".tmp")
        whole.write_text(str(code))
        whole.replace(answer)
    os._exit(code)


def _end_with_launcher(answer: Path) -> None:
    """End all processes of SCOOP on this host once :func:`launch`, which would end them, was killed."""
    lock(answer.with_name(LOCK))
    os.killpg(0, signal.SIGKILL)


def _run_on_loopback(step: str) -> None:
    """Run SCOOP's launcher, or its starter of workers; or, if ``step`` is an option for it, become a worker."""
    import zmq

    bind = zmq.Socket.bind

    def bind_to_loopback(socket: Any, address: str) -> Any:
        return bind(socket, address.replace("//*:", "//127.0.0.1:"))

    zmq.Socket.bind = bind_to_loopback  # type: ignore[method-assign, assignment]
    if step not in ("launcher", "starter"):
        runpy.run_module("scoop.bootstrap.__main__", run_name="__main__", alter_sys=True)
        return
    del sys.argv[1]
    if step == "launcher":
        from scoop import launcher
        from scoop.launch.workerLaunch import Host

        command, start = Host._WorkerCommand_launcher, [sys.executable, "-m", _ON_LOOPBACK, "starter"]
        Host._WorkerCommand_launcher = lambda host: [*start, *command(host)[3:]]
        launcher.main()
        return
    import scoop.launch.__main__ as starter

    starter.processes = []
    starter.BOOTSTRAP_MODULE = _ON_LOOPBACK
    try:
        starter.launchBootstraps()
    finally:
        starter.cleanupBootstraps()


if __name__ == "__main__":
    _run_on_loopback(sys.argv[1])

"""SCOOP on this host alone: its launcher and the processes that this starts, reachable by the loopback interface only.

SCOOP's sockets listen on all interfaces and unpickle what they receive. Run as ``python -m`` by
:mod:`evoprune.backends.launch`, then by SCOOP's launcher and by each starter of workers, in place of SCOOP's modules.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import zmq

LAUNCHER, STARTER = "launcher", "starter"

_ME = [sys.executable, "-m", "evoprune.backends.scoop_loopback"]

_bind = zmq.Socket.bind


def _bind_to_loopback(socket: Any, address: str) -> Any:
    return _bind(socket, address.replace("//*:", "//127.0.0.1:"))


def main() -> None:
    """Do what the first argument says; without a step of ours, the process is a worker."""
    zmq.Socket.bind = _bind_to_loopback
    step = sys.argv[1]
    if step not in (LAUNCHER, STARTER):
        runpy.run_module("scoop.bootstrap.__main__", run_name="__main__", alter_sys=True)
        return
    del sys.argv[1]
    if step == LAUNCHER:
        from scoop import launcher
        from scoop.launch.workerLaunch import Host

        command = Host._WorkerCommand_launcher
        Host._WorkerCommand_launcher = lambda host: [*_ME, STARTER, *command(host)[3:]]
        launcher.main()
    else:
        import scoop.launch.__main__ as starter

        starter.processes = []
        starter.BOOTSTRAP_MODULE = _ME[-1]
        try:
            starter.launchBootstraps()
        finally:
            starter.cleanupBootstraps()


if __name__ == "__main__":
    main()

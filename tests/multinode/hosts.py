"""Hosts that are namespaces of this machine: each has a network, a name, processes, a home and an sshd of its own.

The file system is shared, but for the few files that tell a host who it is. All of a host ends
with the process that holds its namespaces, and that one ends with the process that made it,
even if that is killed; nothing is written outside the folder it is given.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_TOOLS = ("unshare", "nsenter", "setpriv", "ip", "mount", "ssh", "ssh-keygen", "sshd")

_UNSHARE = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child"]

_PROBE = "mount -t tmpfs none /run && mount -t proc proc /proc && hostname probe && ip link add probe type veth"

_BOOT = """
set -e
cd "$1"
read outside rest < /proc/self/stat  # this shell's number outside, as long as that /proc is there
mount -t proc proc /proc
mount -t tmpfs none /run
mkdir /run/sshd
hostname "$2"
for file in passwd shadow hosts; do mount --bind $file /etc/$file; done
echo $outside
read connected
ip address add "$3"/24 dev cable
ip link set lo up
ip link set cable up
exec "$4" -D -e -f sshd_config
"""

_SSHD = """
ListenAddress {address}
HostKey {folder}/host_key
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers root
SetEnv TMPDIR={home} EVOPRUNE_CACHE={home}/cache
"""


def obstacle() -> str | None:
    """Why no host can be made on this machine; None if they can."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    if missing := [tool for tool in _TOOLS if not _path(tool)]:
        return f"hosts in namespaces need {', '.join(missing)} (Debian: iproute2, openssh-client, openssh-server)"
    probe = subprocess.run([*_UNSHARE, "sh", "-c", _PROBE], capture_output=True, text=True)
    return f"namespaces cannot be made: {probe.stderr.strip()}" if probe.returncode else None


class Host:
    """``name`` at ``address``, with a home and its other files in ``folder``."""

    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        _make_key(folder / "host_key")

    def boot(self, addresses: Mapping[str, str], key: Path, known_hosts: str) -> None:
        """Start all but the network. ``addresses``: of all hosts. ``key`` opens them all."""
        ssh = self.home / ".ssh"
        shutil.copy(key, ssh / "id_ed25519")
        shutil.copy(key.with_suffix(".pub"), ssh / "authorized_keys")
        (ssh / "known_hosts").write_text(known_hosts)
        (ssh / "config").write_text("LogLevel ERROR\n")
        users = Path("/etc/passwd").read_text().splitlines()
        root = f"root:x:0:0:root:{self.home}:/bin/sh"
        self._write("passwd", [root if user.startswith("root:") else user for user in users])
        self._write("shadow", ["root:*:20000:0:99999:7:::"])  # no password opens it, and it is not locked
        self._write("hosts", ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())])
        self._write("sshd_config", [_SSHD.format(address=self.address, folder=self.folder, home=self.home)])
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, "sh", "-c", _BOOT, "boot", *self._boot_arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "log").open("wb"),
            text=True,
        )
        assert self._holder.stdout
        self.pid = int(self._holder.stdout.readline() or self._failed())
        self._network = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)  # keeps the cable when the host is gone

    def start(self, *command: object, **options: Any) -> subprocess.Popen[str]:
        """Start ``command`` on this host, in the folder of the project."""
        enter = ["nsenter", "--target", str(self.pid), "--net", "--uts", "--mount", "--pid"]
        places = {"HOME": self.home, "TMPDIR": self.home, "EVOPRUNE_CACHE": f"{self.home}/cache"}
        own = [f"{name}={place}" for name, place in (places | {"PYTHONPATH": ROOT}).items()]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*enter, "env", f"--chdir={ROOT}", *own, *map(str, command)], text=True, **(pipes | options)
        )

    def processes(self) -> list[str]:
        """The commands that go on here, besides sshd."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                here = (process / "ns" / "pid").readlink() == Path(f"/proc/{self.pid}/ns/pid").readlink()
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # gone
            if here and command and "sshd" not in command.split(" ")[0]:
                found.append(command)
        return found

    def connect(self, other: Host) -> None:
        """Lay a cable to ``other``, and start both hosts' networks and sshds."""
        ends = ["cable", "netns", str(self.pid)], ["cable", "netns", str(other.pid)]
        subprocess.run(
            [str(_path("ip")), "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1]], check=True
        )
        for host in (self, other):
            assert host._holder.stdin
            host._holder.stdin.write("connected\n")
            host._holder.stdin.flush()

    def cut_power(self) -> None:
        """End all that is on this host, without a word reaching others."""
        if self._holder.poll() is None:
            pull = ["nsenter", f"--net=/proc/{self.pid}/ns/net", str(_path("ip")), "link", "set", "cable", "down"]
            subprocess.run(pull, check=False)  # there is none before it is connected
            os.kill(self.pid, signal.SIGKILL)
            self._holder.communicate()  # which reaps it

    def remove(self) -> None:
        """Leave nothing of this host."""
        self.cut_power()
        os.close(self._network)

    def _boot_arguments(self) -> list[str]:
        return [str(self.folder), self.name, self.address, str(_path("sshd"))]

    def _write(self, name: str, lines: Sequence[str]) -> None:
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def _failed(self) -> str:
        self._holder.wait()
        raise RuntimeError(f"{self.name} did not start: {(self.folder / 'log').read_text()}")


def pair(folder: Path) -> tuple[Host, Host]:
    """Two connected hosts, which may log into each other."""
    hosts = Host("evohosta", "10.77.0.1", folder / "a"), Host("evohostb", "10.77.0.2", folder / "b")
    key = _make_key(folder / "key")
    known = "".join(f"{host.name} {(host.folder / 'host_key.pub').read_text()}" for host in hosts)
    for host in hosts:
        host.boot({each.name: each.address for each in hosts}, key, known)
    hosts[0].connect(hosts[1])
    return hosts


def _make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path


def _path(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

"""The QEMU process of a machine: found for certain, watched, ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.clients.qmp import Qmp
from lab.errors import DriverError, TransportError
from layers.l2_instantiate.drivers.qemu.command import PROGRAM
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record
from layers.l2_instantiate.ports import Forward

_PROC = Path("/proc")
_MIB = 1024**2
_ENDING = 2.0  # seconds that a killed process is given to be gone
# A line reads: protocol[HOST_FORWARD], descriptor, address, port, guest's address, port, queues.
_FORWARD = re.compile(
    r"^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Process:
    """A running QEMU that is really the machine's, and what it was started with."""

    pid: int
    argv: tuple[str, ...]

    @property
    def cpu(self) -> int:
        """Virtual processors."""
        return int(self._value("-smp") or 0)

    @property
    def memory(self) -> int:
        """Bytes."""
        return int((self._value("-m") or "0").removesuffix("M")) * _MIB

    @property
    def accelerator(self) -> Literal["kvm", "tcg"]:
        """What runs the guest's code."""
        return "kvm" if self._value("-accel") == "kvm" else "tcg"

    @property
    def isolated(self) -> bool:
        """Whether its network leads nowhere."""
        return ",restrict=on" in (self._value("-netdev") or "")

    @property
    def socket(self) -> Path:
        """Its monitor: where it was started, which need not be where we would put it today."""
        value = (self._value("-qmp") or "").removeprefix("unix:")
        return Path(value.removesuffix(",server=on,wait=off").replace(",,", ","))

    def open_files(self) -> frozenset[str]:
        """The files that it holds open, by their path now."""
        links: set[str] = set()
        with contextlib.suppress(OSError):
            for entry in (_PROC / str(self.pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    links.add(str(entry.readlink()))
        return frozenset(links)

    def is_running(self) -> bool:
        """Whether it is there and not about to go: a killed one loses its command line first."""
        return _command_line(self.pid) == self.argv

    def is_alive(self) -> bool:
        """Whether it still runs, or still holds its files; a recycled pid is somebody else."""
        argv = _command_line(self.pid)
        return argv == self.argv if argv else _is_ending(self.pid)

    def monitor(self, name: str, timeout: float = 5.0) -> Qmp:
        """A session with it. Raises TransportError."""
        return Qmp(self.socket, name, timeout)

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """Signal it, and never a process that took over its pid."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.is_running():
                    signal.pidfd_send_signal(handle, sign)
            finally:
                os.close(handle)

    def _value(self, option: str) -> str | None:
        try:
            return self.argv[self.argv.index(option) + 1]
        except (ValueError, IndexError):
            return None


def find(folder: Folder, record: Record) -> Process | None:
    """The machine's QEMU, or ``None``. True also after this machine rebooted and pids came anew."""
    try:
        pid = int(folder.pidfile.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _search(record)
    ends = time.monotonic() + _ENDING
    while not _command_line(pid) and _is_ending(pid) and time.monotonic() < ends:
        time.sleep(_ENDING / 100)
    return _ours(pid, record)


def status(process: Process, name: str) -> str:
    """What QEMU says it is doing, in its words: ``running``, ``paused``, ``internal-error``.

    ``"unknown"`` where its monitor is busy with somebody else, or its socket was swept away.
    """
    try:
        with process.monitor(name, timeout=1.0) as monitor:
            return str(monitor.execute("query-status")["status"])
    except (TransportError, DriverError):
        return "unknown"


def forwards(monitor: Qmp) -> tuple[Forward, ...]:
    """The port forwards that a running machine has, its SSH among them."""
    found = _FORWARD.findall(monitor.monitor("info usernet"))
    return tuple(
        Forward(protocol.lower(), "0.0.0.0" if bind == "*" else bind, int(host), int(guest))  # noqa: S104 (read, not bound)
        for protocol, bind, host, guest in found
    )


def _search(record: Record) -> Process | None:
    """Without a pid file only a look at every process tells."""
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            found = _ours(int(entry.name), record)
            if found is not None:
                return found
    return None


def _ours(pid: int, record: Record) -> Process | None:
    argv = _command_line(pid)
    if not argv or not argv[0].endswith(PROGRAM) or record.uuid not in argv:
        return None
    return Process(pid, argv)


def _is_ending(pid: int) -> bool:
    """A killed QEMU loses its command line first, and its locks on the disks only at the end."""
    place = _PROC / str(pid)
    try:
        if not (place / "comm").read_text(encoding="utf-8").startswith(PROGRAM[:15]):
            return False
        standing = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return standing not in {"Z", "X"} or len(list((place / "task").iterdir())) > 1
    except OSError:
        return False


def _command_line(pid: int) -> tuple[str, ...]:
    """Empty for a process that is gone, and for one that is dead and not yet buried."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(word.decode(errors="replace") for word in raw.split(b"\0")[:-1])

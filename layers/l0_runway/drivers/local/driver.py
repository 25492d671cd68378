"""This machine: what a host needs of it, and what is there. Looks, and never touches."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import folders
from lab.clients.process import run
from lab.errors import DriverError
from lab.layer import Target, Workspace
from lab.lazy import Lazy
from lab.model.plan import Change
from layers.l0_runway.drivers.local import kvm, ports
from layers.l0_runway.spec import Engine, Inputs, Kvm, Observed, Spec, TakenPort, Tool

if TYPE_CHECKING:
    from layers.l0_runway.drivers.local import engine
else:
    engine = Lazy("layers.l0_runway.drivers.local.engine")

_GIB = 1 << 30
_TEMPLATE = 3 * _GIB  # while it is built: tree, raw disk and qcow2 stand side by side
_FIRST_BOOT = _GIB  # what a new machine writes to its root disk soon
_EMULATOR = f"qemu-system-{os.uname().machine}"
_SYSTEM_FOLDERS = ":/usr/sbin:/sbin"  # not on an ordinary user's PATH, and fine to use

_LOGIN = Tool(name="ssh", package="openssh-client", use="log in to machines")
_RUNNING = (
    Tool(name=_EMULATOR, package="qemu-system-x86", use="run machines"),
    Tool(name="qemu-img", package="qemu-utils", use="make disks"),
    Tool(name="mkfs.vfat", package="dosfstools", use="make the seed that a machine starts with"),
    Tool(name="mcopy", package="mtools", use="make the seed that a machine starts with"),
    _LOGIN,
    Tool(name="ssh-keygen", package="openssh-client", use="make the keys of machines"),
)
_BUILDING = (
    Tool(name="mmdebstrap", package="mmdebstrap", use="build templates"),
    Tool(name="sfdisk", package="fdisk", use="build templates"),
    Tool(name="mke2fs", package="e2fsprogs", use="build templates"),
    Tool(name="unshare", package="util-linux", use="build templates"),
    Tool(name="apt-config", package="apt", use="build templates"),
)
_DISKS = (  # those of _RUNNING that building a disk takes, where no machine runs here
    Tool(name="qemu-img", package="qemu-utils", use="build templates"),
    Tool(name="mkfs.vfat", package="dosfstools", use="build templates"),
    Tool(name="mcopy", package="mtools", use="build templates"),
)
_CONTAINERS = (
    Tool(name="docker", package="docker-cli", use="renew the logins of containers"),
    _LOGIN,
    Tool(name="ssh-keygen", package="openssh-client", use="make the keys of machines"),
)
_IMPORTING = (
    Tool(name="mmdebstrap", package="mmdebstrap", use="build templates"),
    Tool(name="unshare", package="util-linux", use="build templates"),
    Tool(name="apt-config", package="apt", use="build templates"),
)
_TOFU = Tool(
    name="tofu",
    use="make machines on Proxmox VE",
    how="install OpenTofu 1.6 or newer (Terraform does, too); with Go on this machine: just peers",
)
_FIRMWARE = Tool(name="UEFI firmware", package="ovmf", use="boot machines")
_FIRMWARE_PLACES = (
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/qemu/edk2-x86_64-code.fd",
)


@dataclass(frozen=True, slots=True)
class _Machine:
    """The part that is the same for all hosts of a run."""

    missing: tuple[Tool, ...]
    found: dict[str, str]
    cannot_build: str


class LocalDriver:
    """Looks at the machine that Strata runs on."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: Target[Spec, Inputs]) -> Observed:
        """Everything at once; about 50 ms the first time in a run, then a few."""
        needs, workspace = target.spec, self._workspace
        machine = workspace.resource(_Looks).at(needs)
        running = _running(workspace.state / "machines" / target.host.name)
        now, later = _room(needs, workspace.state, target.host.name)
        memory_free, memory_total = _memory()
        docker = None if needs.engine is None else engine.observe(workspace, needs.engine)
        asked = needs.emulator and needs.accelerator != "tcg"
        return Observed(
            needs=needs,
            missing=machine.missing,
            tools=machine.found,
            can_build=not machine.cannot_build,
            cannot_build=machine.cannot_build,
            kvm=kvm.observe(workspace.cache) if asked else Kvm(verdict="unasked"),
            engine=docker,
            folder=str(workspace.state),
            disk_free=_free(workspace.state),
            disk_now=now,
            disk_later=later,
            # A machine that runs already has its memory, whatever is left besides.
            memory_free=memory_free + (_resident(running) if running else 0),
            memory_total=memory_total,
            taken=self._taken(target, running, docker),
        )

    def _taken(
        self, target: Target[Spec, Inputs], running: int | None, docker: Engine | None
    ) -> tuple[TakenPort, ...]:
        """Wanted ports that others listen on. A container's are the engine's to listen on."""
        wanted = target.spec.ports
        found = ports.taken(wanted, running)
        if docker is None or docker.problem:
            return found
        others, own = engine.taken(
            self._workspace, target.spec.engine or "", target.host.name, wanted
        )
        told = {entry.port for entry in others} | set(own)
        return (*others, *(entry for entry in found if entry.port not in told))

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Nothing: this layer plans no changes."""


class _Looks:
    """What was found already in this run: the same for every host with the same needs."""

    def __init__(self, workspace: Workspace) -> None:
        del workspace  # the machine is the same for every lab
        self._found: dict[tuple[bool, bool, bool, str, bool], _Machine] = {}

    def at(self, needs: Spec) -> _Machine:
        """Tools and firmware."""
        engine, builds = needs.engine is not None, bool(needs.builds)
        key = (needs.emulator, engine, builds, needs.firmware, needs.tofu)
        if key not in self._found:
            self._found[key] = _look(needs)
        return self._found[key]


def _tools(needs: Spec) -> tuple[Tool, ...]:
    if needs.engine is not None:
        return (*_CONTAINERS, *(_IMPORTING if needs.builds else ()))
    building = (*(() if needs.emulator else _DISKS), *_BUILDING) if needs.builds else ()
    return (*(_RUNNING if needs.emulator else (_LOGIN,)), *building)


def _look(needs: Spec) -> _Machine:
    firmware = needs.firmware
    path = os.environ.get("PATH", "") + _SYSTEM_FOLDERS
    there = {tool.name: shutil.which(tool.name, path=path) for tool in _tools(needs)}
    missing = [tool for tool in _tools(needs) if there[tool.name] is None]
    places = (firmware,) if firmware else _FIRMWARE_PLACES
    if needs.emulator and not any(Path(place).is_file() for place in places):
        missing.append(_FIRMWARE)
    found = {name: "" for name, place in there.items() if place is not None}
    if needs.tofu and not _has_tofu(path):
        missing.append(_TOFU)
    if _EMULATOR in found:
        found[_EMULATOR] = _version()
    return _Machine(tuple(missing), found, _cannot_build() if needs.builds else "")


def _has_tofu(path: str) -> bool:
    """Also one that was built by ``just peers``."""
    built = folders.cache() / "strata" / "peers" / "tofu"
    return any(shutil.which(name, path=path) for name in ("tofu", str(built), "terraform"))


def _version() -> str:
    try:
        told = run([_EMULATOR, "--version"], doing="ask QEMU for its version", deadline=20).text
    except DriverError:
        return ""
    match = re.search(r"version (\d+(?:\.\d+)+)", told)
    return match[1] if match else ""


def _cannot_build() -> str:
    """Why this user cannot build templates; ``""`` = it can."""
    if os.geteuid() == 0:
        return ""
    if shutil.which("newuidmap") is None or shutil.which("newgidmap") is None:
        return "newuidmap is not installed, which building without root needs"
    argv = ["unshare", "--map-root-user", "--map-auto", "--mount", "true"]
    try:
        tried = subprocess.run(argv, capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unshare does not run"
    if tried.returncode == 0:
        return ""
    said = tried.stderr.decode(errors="replace").strip().splitlines()
    user = getpass.getuser()
    return f"{user} has no subordinate ids, or no user namespaces ({said[-1] if said else 'no'})"


def _running(folder: Path) -> int | None:
    """The pid of the host's own machine, if it runs; a pid that another took over is not it."""
    try:
        pid = int((folder / "qemu.pid").read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    ours = (folder / "machine.json").exists() and b"qemu-system" in argv[0]
    return pid if ours else None


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _memory() -> tuple[int, int]:
    """Bytes available and in all."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return kib["MemAvailable"] * 1024, kib["MemTotal"] * 1024


def _room(needs: Spec, state: Path, host: str) -> tuple[int, int]:
    """Bytes that the next run writes, and by how much the disks can grow besides."""
    now = 0
    if needs.builds and not any((state / "images").glob("[!.]*/disk.qcow2")):
        now += _TEMPLATE
    machine, disks = state / "machines" / host, state / "disks" / host
    if needs.disks and not (machine / "root.qcow2").exists():
        now += _FIRST_BOOT
    held = [machine / "root.qcow2", *disks.glob("*.qcow2")]
    allocated = sum(path.stat().st_blocks * 512 for path in held if path.exists())
    return now, max(needs.disks - allocated - now, 0)


def _free(folder: Path) -> int:
    """Bytes free where ``folder`` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free

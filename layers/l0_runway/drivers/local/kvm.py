"""Whether KVM works here, remembered until the machine, its kernel or the module changes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from layers.l0_runway.spec import Kvm

_DEVICE = Path("/dev/kvm")
_PROBE = Path(__file__).with_name("probe.py")
_DEADLINE = 10.0


def observe(cache: Path) -> Kvm:
    """Ask the device; run guests only if the answer is not remembered in ``cache``.

    The memory is the one file that observing may write: without it, each look costs 0.1 s.
    """
    if not _DEVICE.exists():
        return Kvm(verdict="absent")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return Kvm(verdict="denied")
    memory, key = cache / "kvm.json", _machine()
    try:
        kept = json.loads(memory.read_bytes())
        if kept["machine"] == key:
            return Kvm.model_validate(kept["kvm"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never asked, or by another version: ask now
    verdict = _ask()
    _remember(memory, {"machine": key, "kvm": verdict.model_dump(mode="json")})
    return verdict


def _ask() -> Kvm:
    try:
        done = run(
            [sys.executable, "-I", str(_PROBE)], doing="try KVM", deadline=_DEADLINE, check=False
        )
    except DriverError as error:
        return Kvm(verdict="broken", why=error.message)
    said = done.text.strip()
    if said == "usable":
        return Kvm(verdict="usable")
    return Kvm(verdict="broken", why=said or (done.lines[-1] if done.lines else "no answer"))


def _machine() -> str:
    """What the verdict holds for: this processor, this kernel, this boot, this module."""
    modules = ",".join(sorted(p.name for p in Path("/sys/module").glob("kvm*")))
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        model = next(
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        boot = model = ""
    return f"{os.uname().release}|{model}|{boot}|{modules}"


def _remember(memory: Path, value: object) -> None:
    new = memory.with_suffix(f".{os.getpid()}.new")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(value))
        new.replace(memory)
    except OSError:
        new.unlink(missing_ok=True)  # no cache: the next look asks again

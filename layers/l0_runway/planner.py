"""What is wrong with this machine, from what was observed: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.layer import Prediction, Target
from lab.lazy import Lazy
from lab.model.host import Part
from lab.model.outcome import Finding, Level
from lab.model.plan import Blocker, Plan
from lab.model.units import show_size
from layers.l0_runway.spec import Document, Inputs, Observed, Outputs, Provider, Spec

if TYPE_CHECKING:
    from layers.l0_runway import clearance
else:
    clearance = Lazy("layers.l0_runway.clearance")

_MIB = 1 << 20
_QEMU_ITSELF = 256 * _MIB  # what QEMU takes besides the guest's memory
_OLDEST_QEMU = (5, 2)
_OLDEST_DOCKER = (20, 10)
_WATCHES_A_HOST = 8  # inotify instances that systemd and its services take
_SPARE = 2  # hosts that should still fit
_NEW_CONTAINERS = 1024 * _MIB  # what a template and a few new hosts write to the engine's disk


def parts(document: Document) -> tuple[Part, ...]:
    """One look a host; for Proxmox VE another one, at the cluster."""
    provider = document.provider
    if not isinstance(provider, Provider):
        needs = clearance.needs(provider, document.machine, document.image)
        return (
            Part(name="", driver="local", spec=Spec.of(document)),
            Part(name="cluster", driver="proxmox", spec=Spec(emulator=False, cluster=needs)),
        )
    if document.provider.kind == "memory":
        return (Part(name="", driver="memory", spec=Spec(emulator=False)),)
    if document.provider.kind == "existing":
        return (Part(name="", driver="local", spec=Spec(emulator=False)),)
    return (Part(name="", driver="local", spec=Spec.of(document)),)


def plan(
    target: Target[Spec, Inputs],
    observed: Observed | None,
    replace_on: frozenset[str],  # noqa: ARG001 (nothing here is ever created)
) -> Plan:
    """Never a change: what is wrong with this machine is for its owner to mend."""
    if observed is None or target.absent:
        return Plan()
    found = findings(observed)
    return Plan(
        blockers=tuple(Blocker(f.what, f.detail, f.hint) for f in found if f.level is Level.FAIL),
        notes=tuple(_note(f) for f in found if f.level is Level.WARN),
    )


def predict(target: Target[Spec, Inputs], observed: Observed | None, plan: Plan) -> Prediction:  # noqa: ARG001
    """What is so now will be so then."""
    return Prediction(outputs=outputs(target, observed))


def outputs(target: Target[Spec, Inputs], observed: Observed | None) -> Outputs:
    """What machines will run on."""
    return Outputs(accelerator=(observed or desired(target)).accelerator)


def desired(target: Target[Spec, Inputs]) -> Observed:
    """A machine that lacks nothing of what the host needs."""
    needs = target.spec
    if needs.cluster is not None:
        return Observed(needs=needs, cluster=clearance.willing(needs.cluster))
    return Observed(
        needs=needs,
        disk_free=needs.disks,
        memory_free=needs.memory + _QEMU_ITSELF,
        memory_total=needs.memory + _QEMU_ITSELF,
    )


def findings(observed: Observed) -> tuple[Finding, ...]:
    """Everything that was looked at, what failed first. ``lab doctor`` shows all of it."""
    if observed.cluster is not None:
        every = [*clearance.findings(observed.cluster)]
    else:
        every = [
            *_tools(observed),
            *_engine(observed),
            *_building(observed),
            *_acceleration(observed),
            *_disk(observed),
            *_memory(observed),
            *_ports(observed),
        ]
    order = (Level.FAIL, Level.WARN, Level.PASS)
    return tuple(sorted(every, key=lambda finding: order.index(finding.level)))


def _note(finding: Finding) -> str:
    return f"{finding.detail} ({finding.hint})" if finding.hint else finding.detail


def _tools(observed: Observed) -> Iterator[Finding]:
    packages = " ".join(dict.fromkeys(t.package for t in observed.missing if t.package))
    for tool in observed.missing:
        yield Finding(
            Level.FAIL,
            tool.name,
            f"not installed; it is needed to {tool.use}",
            tool.how or f"sudo apt-get install {packages}   (or ./bootstrap, which does it)",
        )
    for name, version in observed.tools.items():
        numbers = _numbers(version)
        if name.startswith("qemu-system") and numbers and numbers < _OLDEST_QEMU:
            oldest = ".".join(map(str, _OLDEST_QEMU))
            yield Finding(Level.FAIL, name, f"version {version} is older than {oldest}")
        else:
            yield Finding(Level.PASS, name, version or "there")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split(".")[:2] if n.isdigit())


def _engine(observed: Observed) -> Iterator[Finding]:
    engine = observed.engine
    if engine is None:
        return
    what = "docker engine"
    if engine.problem:
        yield Finding(Level.FAIL, what, engine.problem, engine.hint)
        return
    if engine.system != "linux":
        yield Finding(Level.FAIL, what, f"it runs {engine.system} containers, not Linux ones")
    elif _numbers(engine.version) < _OLDEST_DOCKER:
        oldest = ".".join(map(str, _OLDEST_DOCKER))
        yield Finding(Level.FAIL, what, f"version {engine.version} is older than {oldest}")
    else:
        detail = f"version {engine.version} at {engine.address}, storage driver {engine.storage}"
        yield Finding(Level.PASS, what, detail)
    if engine.storage == "vfs":
        slow = "the storage driver vfs copies whole images: slow, and each host takes its full size"
        yield Finding(Level.WARN, "docker storage", slow)
    if engine.cannot_limit:
        limits = " and ".join(f"machine.{name}" for name in engine.cannot_limit)
        why = f"Docker cannot limit that on this machine, and does not enforce {limits}"
        yield Finding(Level.WARN, "docker limits", why)
    if engine.watches is not None and engine.running + _SPARE >= engine.watches // _WATCHES_A_HOST:
        told = (
            f"{engine.watches} inotify instances carry about {engine.watches // _WATCHES_A_HOST} "
            f"hosts, and {engine.running} containers run: the next ones may not boot"
        )
        hint = "sudo sysctl -w fs.inotify.max_user_instances=2048   (and in /etc/sysctl.d to stay)"
        yield Finding(Level.WARN, "docker watches", told, hint)
    if engine.free is not None:
        told = f"{show_size(engine.free)} free in {engine.folder}"
        if engine.free < _NEW_CONTAINERS:
            hint = "docker system df   (docker image prune makes room)"
            needed = show_size(_NEW_CONTAINERS)
            yield Finding(Level.FAIL, "docker disk", f"{needed} are needed, {told}", hint)
        else:
            yield Finding(Level.PASS, "docker disk", told)


def _building(observed: Observed) -> Iterator[Finding]:
    if observed.needs.builds and not observed.can_build:
        yield Finding(
            Level.FAIL,
            "building templates",
            observed.cannot_build,
            "sudo apt-get install uidmap && sudo usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 $USER   (or run as root)",
        )


def _acceleration(observed: Observed) -> Iterator[Finding]:
    kvm, wanted = observed.kvm, observed.needs.accelerator
    if kvm.verdict == "unasked":
        return
    if kvm.verdict == "usable":
        yield Finding(Level.PASS, "kvm", "guests run with hardware acceleration")
        return
    slow = "using software emulation, about 10x slower"
    detail, hint = {
        "absent": (f"no hardware acceleration (KVM) on this machine: {slow}", ""),
        "denied": (
            f"KVM is there, and you may not use it: {slow}",
            "sudo usermod --append --groups kvm $USER, then log in again",
        ),
        "broken": (f"KVM is there but does not run guests ({kvm.why}): {slow}", ""),
    }[kvm.verdict]
    if wanted == "kvm":
        why = detail.removesuffix(f": {slow}")
        undo = "accelerator: auto for the provider in lab.yaml"
        yield Finding(Level.FAIL, "kvm", f"{why}, and the provider insists on it", hint or undo)
    else:
        yield Finding(Level.WARN, "kvm", detail, hint)


def _disk(observed: Observed) -> Iterator[Finding]:
    free, now, later = observed.disk_free, observed.disk_now, observed.disk_later
    told = f"{show_size(free)} free in {observed.folder}" if free else "nothing is free"
    if now > free:
        detail = f"{show_size(now)} are needed now, {told}"
        yield Finding(Level.FAIL, "disk space", detail, f"df -h {observed.folder}")
    elif now + later > free:
        total = show_size(now + later)
        yield Finding(
            Level.WARN,
            "disk space",
            f"the declared disks can grow by {total} in all, and there are {told}",
        )
    else:
        yield Finding(Level.PASS, "disk space", told)


def _memory(observed: Observed) -> Iterator[Finding]:
    needed = observed.needs.memory
    if not needed:
        return
    free, total = observed.memory_free, observed.memory_total
    if needed + _QEMU_ITSELF > free:
        detail = (
            f"the machine takes {show_size(needed)} and some for QEMU; "
            f"{_about(free)} of {_about(total)} are free"
        )
        hint = "lower machine.memory, or stop something: free -h"
        yield Finding(Level.FAIL, "memory", detail, hint)
    else:
        yield Finding(Level.PASS, "memory", f"{_about(free)} free")


def _about(size: int) -> str:
    """To the MiB: ``/proc/meminfo`` counts finer than anybody reads."""
    return show_size(max(size // _MIB, 1) * _MIB)


def _ports(observed: Observed) -> Iterator[Finding]:
    taken = {entry.port: entry for entry in observed.taken}
    for port in observed.needs.ports:
        what = f"port {port.address}:{port.number}/{port.protocol}"
        entry = taken.get(port)
        if entry is None:
            yield Finding(Level.PASS, what, "free")
            continue
        yield Finding(
            Level.FAIL,
            what,
            f"in use by {entry.holder or 'a program of another user'}",
            "stop it, or declare another port under machine.ports",
        )

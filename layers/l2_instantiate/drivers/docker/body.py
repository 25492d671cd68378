"""What a container is made with: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.model.mark import LAB, TEMPLATE
from layers.l2_instantiate.drivers.docker.containers import PORT, SSH
from layers.l2_instantiate.machines import Made as Machine
from layers.l2_instantiate.ports import LOOPBACK, Forward
from layers.l2_instantiate.wanted import Machine as Target
from layers.l2_instantiate.wanted import extra_disks

# An engine inside needs places that are no overlay for its own overlays.
_INNER = ("/var/lib/docker", "/var/lib/containerd")
_GRACE = 60  # seconds that systemd is given to stop
_CPU = 10**9


def ssh_forward(port: int) -> Forward:
    """The forward that the lab itself comes in by."""
    return Forward("tcp", LOOPBACK, port, SSH)


def creation(
    target: Target,
    port: int,
    labels: Mapping[str, str],
    volumes: Mapping[str, str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The engine's words for it; ``volumes`` names each disk's, ``about`` is ``docker info``."""
    spec, inputs = target.spec, target.inputs
    forwards = (ssh_forward(port), *spec.machine.ports)
    marks = {**labels, TEMPLATE: inputs.template_name or "", PORT: str(port)}
    return {
        "Hostname": target.host.name,
        "Image": inputs.template,
        "Labels": marks,
        "Env": ["container=docker"],
        "Tty": True,  # what it says while it starts is kept, line by line
        "StopSignal": "SIGRTMIN+3",  # systemd's "stop in order"
        "StopTimeout": _GRACE,
        "ExposedPorts": {_inside(f): {} for f in forwards},
        "HostConfig": {
            **limits(spec.machine, about),
            # systemd needs its control groups, and an engine inside its own networks.
            "CgroupnsMode": "private",
            "CapAdd": ["SYS_ADMIN", "NET_ADMIN"],
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            # Its first process takes away again what is everybody's (see the image's recipe).
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "Mounts": _mounts(spec.machine, extra_disks(spec), volumes, labels),
            "PortBindings": _bindings(forwards),
            "ExtraHosts": ["host.docker.internal:host-gateway"],
            **({"NetworkMode": network_of(labels)} if spec.isolated else {}),
            "RestartPolicy": {"Name": "unless-stopped"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        },
    }


def network_of(labels: Mapping[str, str]) -> str:
    """The network of a lab's isolated machines."""
    return f"strata-{labels[LAB]}-isolated"


def network(labels: Mapping[str, str]) -> dict[str, Any]:
    """The engine's words for it: nothing is translated on its way out, nobody sees another."""
    return {
        "Name": network_of(labels),
        "Driver": "bridge",
        "Labels": {LAB: labels[LAB]},
        "Options": {
            "com.docker.network.bridge.enable_ip_masquerade": "false",
            "com.docker.network.bridge.enable_icc": "false",
        },
    }


def limits(machine: Machine, about: Mapping[str, Any]) -> dict[str, Any]:
    """Processors and memory, where the engine can limit them; all processors are no limit."""
    found: dict[str, Any] = {}
    if about.get("CpuCfsQuota"):
        found["NanoCpus"] = machine.cpu * _CPU if machine.cpu < about["NCPU"] else 0
    if about.get("MemoryLimit"):
        found["Memory"] = int(machine.memory)
    if about.get("MemoryLimit") and about.get("SwapLimit"):
        found["MemorySwap"] = 2 * int(machine.memory)
    return found


def cpu_found(machine: Machine, limit: float, about: Mapping[str, Any]) -> int:
    """How many processors it has; as declared where no limit could say so."""
    processors = int(about["NCPU"])
    if not about.get("CpuCfsQuota") or (limit == 0 and machine.cpu >= processors):
        return machine.cpu
    return int(limit) or processors


def memory_found(machine: Machine, limit: int, about: Mapping[str, Any]) -> int:
    """How much memory it has; as declared where no limit could say so."""
    return limit if about.get("MemoryLimit") else int(machine.memory)


def _mounts(
    machine: Machine, names: tuple[str, ...], volumes: Mapping[str, str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    options = {"NoCopy": True, "Labels": dict(labels)}
    mounts = [
        {
            "Type": "volume",
            "Source": volumes[name],
            "Target": machine.disks[name].mount,
            "VolumeOptions": {"NoCopy": True},
        }
        for name in names
    ]
    taken = {mount["Target"] for mount in mounts}
    return mounts + [
        {"Type": "volume", "Target": folder, "VolumeOptions": options}
        for folder in _INNER
        if folder not in taken
    ]


def _bindings(forwards: tuple[Forward, ...]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for forward in forwards:
        where = {"HostIp": forward.bind, "HostPort": str(forward.host)}
        bindings.setdefault(_inside(forward), []).append(where)
    return bindings


def _inside(forward: Forward) -> str:
    return f"{forward.guest}/{forward.protocol}"

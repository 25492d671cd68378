"""Pure: one machine as a tofu configuration (``*.tf.json``) for the provider bpg/proxmox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layers.l2_instantiate.drivers.terraform.program import PROVIDER
from layers.l2_instantiate.machines import ROOT, Container, Machine, Made
from layers.l2_instantiate.proxmox import ProxmoxProvider
from layers.l2_instantiate.settings import settings
from layers.l2_instantiate.wanted import Machine as Target

_GIB, _MIB = 1024**3, 1024**2
_NAME = "machine"
_VM, _CT = "proxmox_virtual_environment_vm", "proxmox_virtual_environment_container"
# What the template decides, and nobody here declares: nothing of it is drift. `clone` is how a
# machine came to be; another template replaces it by our decision, never by tofu's.
_VM_TEMPLATES = (
    "acpi", "amd_sev", "audio_device", "bios", "clone", "efi_disk", "hook_script_file_id",
    "hostpci", "hotplug", "initialization", "keyboard_layout", "kvm_arguments", "machine", "numa",
    "operating_system", "rng", "scsi_hardware", "serial_device", "smbios", "tablet_device",
    "tpm_state", "usb", "vga", "virtiofs", "watchdog",
)  # fmt: skip
_CT_TEMPLATES = (
    "console", "device_passthrough", "hook_script_file_id", "initialization[0].user_account",
    "operating_system", "environment_variables",
)  # fmt: skip


_UNSAID = {
    "disconnected": False,
    "enabled": True,
    "model": "virtio",
    "mtu": 0,
    "queues": 0,
    "rate_limit": 0,
    "trunks": "",
}


@dataclass(frozen=True)
class Body:
    """What is known of a machine's place besides what is declared.

    Attributes:
        root: The slot of its root disk.
        threaded: Whether the template gives that disk a thread of its own.
        starts: Tofu starts it; an isolated one is started later, once its rules are there.
        disks: Slot to name and volume of those on its shelf.
        template: The VMID that it is cloned from; of a container nothing.
        found: It exists already: tofu is told, in case it does not know.
    """

    vmid: int
    node: str
    mark: str
    root: str
    disks: Mapping[str, tuple[str, str]]
    seed: str = ""
    template: int = 0
    found: bool = False
    threaded: bool = False
    starts: bool = True


def document(target: Target, body: Body, provider: ProxmoxProvider, lab: str) -> dict[str, Any]:
    """The whole configuration."""
    machine = target.spec.machine
    is_container = isinstance(machine, Container)
    kind = _CT if is_container else _VM
    made = _container(target, body) if is_container else _machine(target, body, provider)
    found: dict[str, Any] = {
        "terraform": {
            "required_providers": {
                "proxmox": {"source": "bpg/proxmox", "version": f"= {PROVIDER}"}
            },
            **_backend(provider, lab, target.host.name),
        },
        "provider": {"proxmox": {"endpoint": provider.url, "insecure": False}},
        "resource": {kind: {_NAME: made}},
    }
    if body.found:
        found["import"] = [{"to": f"{kind}.{_NAME}", "id": f"{body.node}/{body.vmid}"}]
    return found


def _backend(provider: ProxmoxProvider, lab: str, host: str) -> dict[str, Any]:
    if provider.backend is None:
        return {}
    return {
        "backend": {
            name: {k: _filled(v, lab, host) for k, v in words.items()}
            for name, words in provider.backend.items()
        }
    }


def _filled(value: Any, lab: str, host: str) -> Any:
    if not isinstance(value, str):
        return value
    return value.replace("{lab}", lab).replace("{host}", host)


def _common(target: Target, body: Body) -> dict[str, Any]:
    machine, wanted = target.spec.machine, settings(target)
    start = machine.start
    order = {"order": start.order, "up_delay": start.up, "down_delay": start.down}
    return {
        "node_name": body.node,
        "vm_id": body.vmid,
        "description": body.mark,
        "tags": wanted["tags"],
        "pool_id": wanted["pool"],
        "protection": machine.protection,
        "started": body.starts,
        **(
            {"startup": {k: str(-1 if v is None else v) for k, v in order.items()}}
            if start.order is not None
            else {}
        ),
    }


def _machine(target: Target, body: Body, provider: ProxmoxProvider) -> dict[str, Any]:
    machine, wanted = target.spec.machine, settings(target)
    assert isinstance(machine, Machine)  # noqa: S101 (the caller asked)
    slots = {name: slot for slot, (name, _) in body.disks.items()} | {
        ROOT: body.root,
        "net": "net0",
    }
    cloned = {"clone": {"vm_id": body.template, "full": True, "datastore_id": provider.storage}}
    return {
        **_common(target, body),
        **(cloned if body.template else {}),
        "name": wanted["name"],
        "on_boot": machine.start.at_boot,
        "stop_on_destroy": True,
        "purge_on_destroy": True,
        "reboot_after_update": False,  # a restart is ours to plan and to carry out
        "cpu": {"cores": machine.cpu, "type": provider.cpu_type},
        "memory": {"dedicated": machine.memory // _MIB},
        "agent": {"enabled": machine.agent, "wait_for_ip": {"disabled": True}},
        "boot_order": [slots[name] for name in machine.boot if name in slots],
        "cdrom": {"file_id": body.seed, "interface": "ide2"},
        # An attribute, not a block: all of it must be said.
        "network_device": [{**_UNSAID, **_card(wanted)}],
        "disk": [_root(machine, body, provider), *_shelved(machine, body)],
        "lifecycle": {"ignore_changes": list(_VM_TEMPLATES)},
    }


def _card(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bridge": wanted["bridge"],
        "firewall": wanted["firewall"],
        "mac_address": wanted["mac"],
        "vlan_id": wanted["vlan"] or 0,
    }


def _root(machine: Made, body: Body, provider: ProxmoxProvider) -> dict[str, Any]:
    return {
        "interface": body.root,
        "datastore_id": provider.storage,
        "size": machine.disks[ROOT].size // _GIB,
        "serial": ROOT,
        "discard": "on",
        "iothread": body.threaded,
    }


def _shelved(machine: Made, body: Body) -> list[dict[str, Any]]:
    found = []
    for slot, (name, volume) in sorted(body.disks.items(), key=lambda item: int(item[0][6:])):
        storage, _, path = volume.partition(":")
        found.append(
            {
                "interface": slot,
                "datastore_id": storage,
                "path_in_datastore": path,
                "size": machine.disks[name].size // _GIB,
                "serial": name,
                "discard": "on",
            }
        )
    return found


def _container(target: Target, body: Body) -> dict[str, Any]:
    machine, wanted = target.spec.machine, settings(target)
    assert isinstance(machine, Container)  # noqa: S101 (the caller asked)
    network = machine.network
    address = {"address": target.host.address or "dhcp"}
    if network is not None and network.gateway:
        address["gateway"] = network.gateway
    is_six = ":" in (target.host.address or "")
    dns = {
        **({"servers": list(network.dns)} if network and network.dns else {}),
        **({"domain": network.domain} if network and network.domain else {}),
    }
    return {
        **_common(target, body),
        "start_on_boot": machine.start.at_boot,
        "unprivileged": not machine.privileged,
        "cpu": {"cores": machine.cpu},
        "memory": {
            "dedicated": machine.memory // _MIB,
            "swap": int(machine.swap or 0) // _MIB,
        },
        "disk": {
            "datastore_id": body.root,
            "size": machine.disks[ROOT].size // _GIB,
        },
        "features": {"nesting": machine.nesting},
        "operating_system": {"template_file_id": machine.template, "type": machine.system},
        "initialization": {
            "hostname": wanted["name"],
            "ip_config": {"ipv6" if is_six else "ipv4": address},
            **({"dns": dns} if dns else {}),
            "user_account": {"keys": body.seed.splitlines()},
        },
        "network_interface": [{"name": "eth0", **_card(wanted)}],
        "mount_point": [
            {
                "volume": volume,
                "path": machine.disks[name].mount,
                "size": f"{machine.disks[name].size // _GIB}G",
            }
            for _, (name, volume) in sorted(body.disks.items())
        ],
        "lifecycle": {"ignore_changes": list(_CT_TEMPLATES)},
    }

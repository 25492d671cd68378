"""What clients ask around the guests: SDN, capabilities, versions, options, mappings."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox.calls import Call, answers
from tests.standins.proxmox.described import CPU_TYPES
from tests.standins.proxmox.world import VERSION


@answers("GET", "/nodes/{node}/sdn/zones")
def zones(call: Call) -> Any:
    if not call.may("/sdn/zones/localnetwork", "SDN.Audit"):
        return []
    return [{"status": "available", "zone": "localnetwork"}]


@answers("GET", "/nodes/{node}/sdn/zones/{zone}/content")
def zone_content(call: Call) -> Any:
    if call["zone"] != "localnetwork":
        return []
    return [
        {"status": "available", "vnet": name}
        for name, one in call.world.nodes[call["node"]].network.items()
        if one["type"] in {"bridge", "OVSBridge"}
    ]


@answers("GET", "/nodes/{node}/capabilities/qemu/cpu")
def cpu_types(_: Call) -> Any:
    return [{"custom": 0, "name": one, "vendor": "default"} for one in sorted(CPU_TYPES)]


@answers("GET", "/nodes/{node}/capabilities/qemu/machines")
def machines(_: Call) -> Any:
    return [
        {"id": f"pc-{family}-{version}", "type": family, "version": version}
        for family in ("i440fx", "q35")
        for version in ("10.0", "9.2", "9.0")
    ]


@answers("GET", "/nodes/{node}/apt/versions")
def versions(_: Call) -> Any:
    return [
        {
            "Arch": "all",
            "CurrentState": "Installed",
            "ManagerVersion": VERSION["version"],
            "OldVersion": version,
            "Package": name,
            "Version": version,
        }
        for name, version in (
            ("pve-manager", VERSION["version"]),
            ("qemu-server", "9.1.4"),
            ("pve-qemu-kvm", "10.1.2-5"),
        )
    ]


@answers("GET", "/nodes/{node}/certificates/info")
def certificates(call: Call) -> Any:
    return [{"filename": "pve-ssl.pem", "fingerprint": call.world.fingerprint}]


@answers("GET", "/nodes/{node}/hosts")
def hosts(call: Call) -> Any:
    return {"data": f"127.0.0.1 localhost\n10.99.0.1 {call['node']}\n", "digest": "0" * 40}


@answers("GET", "/cluster/options")
def options(_: Call) -> Any:
    return {"keyboard": "en-us", "mac_prefix": "BC:24:11"}


@answers("GET", "/nodes/{node}/config")
def node_config(_: Call) -> Any:
    return {"digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}


@answers("GET", "/nodes/{node}/qemu/{vmid}/feature")
def feature(call: Call) -> Any:
    call.world.guest(call.vmid, call["node"])
    return {"hasFeature": 1, "nodes": list(call.world.nodes)}


@answers(
    "GET",
    "/cluster/ha/groups",
    "/cluster/ha/rules",
    "/cluster/ha/status/current",
    "/cluster/mapping/dir",
    "/cluster/mapping/pci",
    "/cluster/mapping/usb",
    "/cluster/replication",
    "/cluster/sdn/vnets",
    "/cluster/sdn/zones",
    "/nodes/{node}/hardware/pci",
    "/nodes/{node}/hardware/usb",
)
def nothing_there(_: Call) -> Any:
    return []

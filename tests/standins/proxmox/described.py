"""Property strings of which the API's description says only the name.

Each is the description that the name stands for, in the description's own form.
"""

from __future__ import annotations

from typing import Any

Described = dict[str, dict[str, Any]]


def _key(kind: str = "string", *, default: bool = False, needed: bool = False, **more: Any) -> Any:
    schema: dict[str, Any] = {"type": kind, **more}
    if default:
        schema["default_key"] = 1
    if not needed:
        schema["optional"] = 1
    return schema


_FLAG = _key("boolean")
_HEX = r"(?:0x)?[0-9a-fA-F]{4}"
_PCI = r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?"
_KEEP = _key("integer", minimum=0)
_BASE64 = _key(pattern=r"[A-Za-z0-9+/]+={0,2}")

_BOOT: Described = {
    "legacy": _key(default=True, pattern=r"[acdn]{1,4}"),
    "order": _key(),
}

_CICUSTOM: Described = {
    part: _key(format="pve-volume-id") for part in ("meta", "network", "user", "vendor")
}

_CPU: Described = {
    "cputype": _key(default=True),
    "flags": _key(pattern=r"[+-][a-zA-Z0-9\-_.]+(?:;[+-][a-zA-Z0-9\-_.]+)*"),
    "guest-phys-bits": _key("integer", minimum=32, maximum=64),
    "hidden": _FLAG,
    "hv-vendor-id": _key(pattern=r"[a-zA-Z0-9]{1,12}"),
    "phys-bits": _key(pattern=r"host|\d+"),
    "reported-model": _key(),
}

_HOSTPCI: Described = {
    "host": _key(default=True, pattern=rf"{_PCI}(?:;{_PCI})*"),
    "device-id": _key(pattern=_HEX),
    "driver": _key(enum=["vfio", "keep"]),
    "legacy-igd": _FLAG,
    "mapping": _key(format="pve-configid"),
    "mdev": _key(pattern=r"[^/.:]+"),
    "pcie": _FLAG,
    "rombar": _FLAG,
    "romfile": _key(pattern=r"[^,;]+"),
    "sub-device-id": _key(pattern=_HEX),
    "sub-vendor-id": _key(pattern=_HEX),
    "vendor-id": _key(pattern=_HEX),
    "x-vga": _FLAG,
}

_IPCONFIG: Described = {
    "gw": _key(format="ipv4", requires="ip"),
    "gw6": _key(format="ipv6", requires="ip6"),
    "ip": _key(format="pve-ipv4-config"),
    "ip6": _key(format="pve-ipv6-config"),
}
_RNG: Described = {
    "source": _key(default=True, needed=True, enum=["/dev/urandom", "/dev/random", "/dev/hwrng"]),
    "max_bytes": _key("integer"),
    "period": _key("integer"),
}

_SMBIOS: Described = {
    "base64": _FLAG,
    "uuid": _key(pattern=r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"),
    **dict.fromkeys(("family", "manufacturer", "product", "serial", "sku", "version"), _BASE64),
}

_WATCHDOG: Described = {
    "model": _key(default=True, enum=["i6300esb", "ib700"]),
    "action": _key(enum=["reset", "shutdown", "poweroff", "pause", "debug", "none"]),
}

_SEV: Described = {
    "type": _key(default=True, needed=True, maxLength=3, enum=["std", "es", "snp"]),
    "allow-smt": _FLAG,
    "kernel-hashes": _FLAG,
    "no-debug": _FLAG,
    "no-key-sharing": _FLAG,
}

_TDX: Described = {
    "type": _key(default=True, needed=True, enum=["tdx"]),
    "attestation": _key("boolean", needed=True),
    "vsock-cid": _key("integer", minimum=2),
    "vsock-port": _key("integer", minimum=0),
}

_PRUNE: Described = {
    "keep-all": _FLAG,
    **{
        f"keep-{span}": _KEEP for span in ("daily", "hourly", "last", "monthly", "weekly", "yearly")
    },
}

_FLEECING: Described = {
    "enabled": _key("boolean", default=True),
    "storage": _key(format="pve-storage-id"),
}

_PERFORMANCE: Described = {
    "max-workers": _key("integer", minimum=1, maximum=256),
    "pbs-entries-max": _key("integer", minimum=1),
}

DESCRIBED: dict[str, Described] = {
    "pve-qm-boot": _BOOT,
    "pve-qm-cicustom": _CICUSTOM,
    "pve-vm-cpu-conf": _CPU,
    "pve-qm-hostpci": _HOSTPCI,
    "pve-qm-ipconfig": _IPCONFIG,
    "pve-qm-rng": _RNG,
    "pve-qm-smbios1": _SMBIOS,
    "pve-qm-watchdog": _WATCHDOG,
    "pve-qemu-sev-fmt": _SEV,
    "pve-qemu-tdx-fmt": _TDX,
    "prune-backups": _PRUNE,
    "backup-fleecing": _FLEECING,
    "backup-performance": _PERFORMANCE,
}

_CPU_TYPES = """
486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server
Cascadelake-Server-noTSX Cascadelake-Server-v2 Cascadelake-Server-v4 Cascadelake-
Server-v5 ClearwaterForest Conroe Cooperlake Cooperlake-v2 EPYC EPYC-Genoa EPYC-IBPB
EPYC-Milan EPYC-Milan-v2 EPYC-Rome EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-Turin
EPYC-v3 EPYC-v4 GraniteRapids GraniteRapids-v2 Haswell Haswell-IBRS Haswell-noTSX
Haswell-noTSX-IBRS Icelake-Client Icelake-Client-noTSX Icelake-Server Icelake-Server-
noTSX Icelake-Server-v3 Icelake-Server-v4 Icelake-Server-v5 Icelake-Server-v6 IvyBridge
IvyBridge-IBRS KnightsMill Nehalem Nehalem-IBRS Opteron_G1 Opteron_G2 Opteron_G3
Opteron_G4 Opteron_G5 Penryn SandyBridge SandyBridge-IBRS SapphireRapids
SapphireRapids-v2 SierraForest SierraForest-v2 Skylake-Client Skylake-Client-IBRS
Skylake-Client-noTSX-IBRS Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-
Server-noTSX-IBRS Skylake-Server-v4 Skylake-Server-v5 Westmere Westmere-IBRS athlon
core2duo coreduo host kvm32 kvm64 max pentium pentium2 pentium3 phenom qemu32 qemu64
x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4
"""

CPU_TYPES = frozenset(_CPU_TYPES.split())

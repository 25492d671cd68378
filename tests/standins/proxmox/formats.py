"""The named formats: each name's check, in the words of the real one.

Of these the API's description holds only names; they are written after what the real validator
said of some thousand values.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from .described import CPU_TYPES, DESCRIBED
from .property_strings import FormatError, split_list, split_property_string

Check = Callable[[str], object]

_NAMED: dict[str, Check] = {}


def check_named(name: str, value: str) -> None:
    """Hold a value to a named format, or to a list of it where the name says so."""
    stem, _, suffix = name.rpartition("-")
    if suffix == "list" and name not in _NAMED:
        for one in split_list(value):
            _check_one(stem.removesuffix("-a"), one)
    elif suffix == "opt":
        if value:
            _check_one(stem, value)
    else:
        _check_one(name, value)


def _check_one(name: str, value: str) -> None:
    check = _NAMED.get(name)
    if check is not None:
        check(value)


def _named(*names: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        for name in names:
            _NAMED[name] = check
        return check

    return keep


def _looks_like(name: str, pattern: str, fault: str) -> None:
    expression = re.compile(pattern, re.ASCII)

    def check(value: str) -> None:
        if not expression.fullmatch(value):
            raise FormatError(fault.replace("%s", value) + "\n")

    _NAMED[name] = check


_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?"
_STORAGE_ID = r"[a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]"
_CONTENT = {"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"}
_USER_ID = r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+"

for _one in (
    ("pve-node", _NAME, "value does not look like a valid node name"),
    ("pve-vmid", r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    ("pve-configid", r"[a-zA-Z][a-zA-Z0-9_-]+", "invalid configuration ID '%s'"),
    ("pve-iface", r"[a-zA-Z][a-zA-Z0-9_]{1,20}([:.]\d+)?", "invalid network interface name '%s'"),
    (
        "pve-poolid",
        r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+){0,2}",
        "pool name '%s' contains invalid characters",
    ),
    ("pve-groupid", r"[A-Za-z0-9._-]+", "group name '%s' contains invalid characters"),
    ("pve-roleid", r"[A-Za-z0-9._-]+", "role name '%s' contains invalid characters"),
    (
        "pve-tokenid",
        _USER_ID + r"![A-Za-z][A-Za-z0-9.\-_]+",
        "value '%s' does not look like a valid token ID",
    ),
    ("pve-realm", r"[A-Za-z][A-Za-z0-9.\-_]+", "value does not look like a valid realm"),
    ("dns-name", rf"{_NAME}(?:\.{_NAME})*", "value does not look like a valid DNS name"),
    (
        "pve-storage-vgname",
        r"[A-Za-z0-9][A-Za-z0-9\-_.]*[A-Za-z0-9]|[A-Za-z0-9]",
        "lvm name '%s' contains illegal characters",
    ),
    (
        "disk-size",
        r"\d+(?:\.\d+)?[KMGT]?",
        "value does not look like a valid disk size: %s",
    ),
    ("pve-storage-path", r"/.*", "value does not look like a valid absolute path"),
    ("pve-qm-bootdisk", r"(?:ide|sata|scsi|virtio)\d+", "invalid boot disk '%s'"),
    (
        "pve-cpuset",
        r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*",
        "unable to parse cpuset option",
    ),
    (
        "pve-ha-resource-id",
        r"(?:vm|ct|service):[A-Za-z0-9_]+",
        "value does not look like a valid ha resource id",
    ),
    (
        "pve-ha-resource-or-vm-id",
        r"(?:vm|ct):[A-Za-z0-9_]+|[1-9][0-9]*",
        "value does not look like a valid ha resource id",
    ),
    ("email", r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)*", "value does not look like a valid email address"),
    (
        "email-or-username",
        r"[\w.+\-]+@[\w\-]+(?:\.[\w\-]+)*|[\w.\-]+",
        "value does not look like a valid email address or user name",
    ),
    ("pve-task-status-type", r"(?i:ok|error|warning|unknown)", "invalid status '%s'"),
):
    _looks_like(*_one)


@_named("pve-userid")
def _user_id(value: str) -> None:
    if len(value) < 3:
        raise FormatError(f"user name '{value}' is too short\n")
    if len(value) > 64:
        raise FormatError(f"user name '{value}' is too long ({len(value)} > 64)\n")
    if not re.fullmatch(_USER_ID, value, re.ASCII):
        raise FormatError(f"value '{value}' does not look like a valid user name\n")


@_named("pve-storage-id")
def _storage_id(value: str) -> None:
    if len(value) < 2:
        raise FormatError(f"storage ID '{value}' cannot be shorter than 2 characters\n")
    if not re.fullmatch(_STORAGE_ID, value, re.ASCII):
        raise FormatError(f"storage ID '{value}' contains illegal characters\n")


@_named("storage-pair")
def _storage_pair(value: str) -> None:
    if value == "1":
        return
    for one in value.split(":", 1):
        try:
            _storage_id(one)
        except FormatError as fault:
            raise FormatError(f"entry '{value}' contains invalid ID - {fault}\n\n") from None


@_named("pve-volume-id")
def volume_id(value: str) -> None:
    """A storage and a name in it."""
    if not re.fullmatch(rf"{_STORAGE_ID}:.+", value, re.ASCII):
        raise FormatError(f"unable to parse volume ID '{value}'\n")


@_named("pve-volume-id-or-qm-path")
def _volume_or_path(value: str) -> None:
    if value not in {"none", "cdrom"} and not value.startswith("/"):
        volume_id(value)


@_named("pve-volume-id-or-absolute-path")
def _volume_or_absolute(value: str) -> None:
    if not value.startswith("/"):
        volume_id(value)


@_named("urlencoded")
def _urlencoded(value: str) -> None:
    if not re.fullmatch(r"[-%a-zA-Z0-9_.!~*'()]*", value, re.ASCII):
        raise FormatError(f"invalid urlencoded string: {value}\n")


@_named("pve-tag")
def _tag(value: str) -> None:
    if not re.fullmatch(r"(?i:[a-z0-9_][a-z0-9_\-+.]*)", value, re.ASCII):
        raise FormatError("invalid characters in tag\n")


@_named("pve-bridge-id")
def _bridge(value: str) -> None:
    if not re.fullmatch(r"[-_.\w\d]+", value, re.ASCII):
        raise FormatError(f"invalid bridge name '{value}'\n")


@_named("mac-addr")
def _mac(value: str) -> None:
    if not re.fullmatch(r"[a-fA-F0-9]{2}(:[a-fA-F0-9]{2}){5}", value) or int(value[:2], 16) & 1:
        raise FormatError("value does not look like a valid unicast MAC address\n")


@_named("pve-hotplug-features")
def _hotplug(value: str) -> None:
    if value in {"0", "1"}:
        return
    for one in split_list(value):
        if one not in {"network", "disk", "cpu", "memory", "usb", "cloudinit"}:
            raise FormatError(f"invalid hotplug feature '{one}'\n")


@_named("pve-startup-order")
def _startup(value: str) -> None:
    for part in value.split(","):
        if part and not re.fullmatch(r"(?:order=)?\d+|(?:up|down)=\d+", part, re.ASCII):
            raise FormatError("unable to parse startup options\n")


@_named("pve-storage-content")
def _content(value: str) -> None:
    if value not in _CONTENT:
        raise FormatError(f"invalid content type '{value}'\n")


@_named("pve-storage-server")
def _server(value: str) -> None:
    if not (_is_address(value) or re.fullmatch(rf"{_NAME}(?:\.{_NAME})*", value, re.ASCII)):
        raise FormatError("value does not look like a valid server name or IP address\n")


@_named("pve-storage-portal-dns")
def _portal(value: str) -> None:
    host = re.sub(r":\d+$", "", value)
    if not (_is_address(host) or re.fullmatch(rf"{_NAME}(?:\.{_NAME})*", host, re.ASCII)):
        raise FormatError("value does not look like a valid portal address\n")


@_named("pve-vlan-id-or-range")
def _vlan(value: str) -> None:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", value, re.ASCII)
    numbers = [int(one) for one in found.groups() if one] if found else []
    if not numbers or not all(1 < one < 4095 for one in numbers) or numbers != sorted(numbers):
        raise FormatError(f"invalid VLAN configuration '{value}'\n")


@_named("address")
def _address(value: str) -> None:
    if not (_is_address(value) or re.fullmatch(rf"{_NAME}(?:\.{_NAME})*", value, re.ASCII)):
        raise FormatError(f"value does not look like a valid address: {value}\n")


@_named("ip")
def _ip(value: str) -> None:
    if not _is_address(value):
        raise FormatError("value does not look like a valid IP address\n")


@_named("ipv4")
def _ipv4(value: str) -> None:
    if not _is_address(value, 4):
        raise FormatError("value does not look like a valid IPv4 address\n")


@_named("ipv6")
def _ipv6(value: str) -> None:
    if not _is_address(value, 6):
        raise FormatError("value does not look like a valid IPv6 address\n")


@_named("ipv4mask")
def _mask(value: str) -> None:
    masks = {str(ipaddress.ip_network(f"0.0.0.0/{bits}").netmask) for bits in range(1, 33)}
    if value not in masks and not (value.isdigit() and 0 < int(value) <= 32):
        raise FormatError("value does not look like a valid IP netmask\n")


@_named("CIDRv4")
def _cidr4(value: str) -> None:
    if not _is_network(value, 4):
        raise FormatError("value does not look like a valid IPv4 CIDR network\n")


@_named("CIDRv6")
def _cidr6(value: str) -> None:
    if not _is_network(value, 6):
        raise FormatError("value does not look like a valid IPv6 CIDR network\n")


@_named("CIDR")
def _cidr(value: str) -> None:
    if not (_is_network(value, 4) or _is_network(value, 6)):
        raise FormatError("value does not look like a valid CIDR network\n")


@_named("pve-ipv4-config")
def _ipv4_config(value: str) -> None:
    if value not in {"dhcp", "manual"} and not _is_network(value, 4):
        raise FormatError("value does not look like a valid ipv4 network configuration\n")


@_named("pve-ipv6-config")
def _ipv6_config(value: str) -> None:
    if value not in {"auto", "dhcp", "manual"} and not _is_network(value, 6):
        raise FormatError("value does not look like a valid ipv6 network configuration\n")


def _is_address(value: str, version: int | None = None) -> bool:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return False
    return version is None or found.version == version


def _is_network(value: str, version: int) -> bool:
    host, slash, bits = value.partition("/")
    if not (slash and bits.isdigit() and _is_address(host, version)):
        return False
    return int(bits) <= (32 if version == 4 else 128) and int(bits) > 0


@_named("pve-fw-addr-spec")
def _firewall_addresses(value: str) -> None:
    for one in value.split(","):
        if one.startswith("+") or re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_]+", one):
            continue  # a set, an alias
        ends = one.split("-") if "-" in one else [one]
        if not all(_is_address(end) or any(_is_network(end, v) for v in (4, 6)) for end in ends):
            raise FormatError(f"invalid IP address: {one}\n")


@_named("pve-fw-dport-spec", "pve-fw-sport-spec")
def _firewall_ports(value: str) -> None:
    for one in value.split(","):
        for end in one.split(":"):
            if end.isdigit() and int(end) > 65535:
                raise FormatError(f"invalid port '{end}'\n")


@_named("pve-dir-override")
def _dir_override(value: str) -> None:
    kind, equals, folder = value.partition("=")
    if equals:
        _content(kind)
    if not (equals and re.fullmatch(r"[^./\s][^.\s]*|[^.\s]+", folder)):
        raise FormatError(f"invalid override '{value}'\n")


def _cpu_type(value: str) -> None:
    found = split_property_string(DESCRIBED["pve-vm-cpu-conf"], value)
    name = found.get("cputype", "kvm64")
    if not name.startswith("custom-") and name not in CPU_TYPES:
        raise FormatError(f"Built-in cputype '{name}' is not defined (missing 'custom-' prefix?)\n")


AFTERWARDS: dict[str, Check] = {"pve-vm-cpu-conf": _cpu_type}

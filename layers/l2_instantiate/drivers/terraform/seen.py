"""A machine as the API describes it, in this layer's words: what is live, and what is pending."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from layers.l2_instantiate import keys
from layers.l2_instantiate.drivers.terraform import seed as seeds
from layers.l2_instantiate.drivers.terraform import shelf as shelves
from layers.l2_instantiate.drivers.terraform.guests import (
    LXC,
    Drive,
    Found,
    Guest,
    Running,
    boot_order,
)
from layers.l2_instantiate.drivers.terraform.place import Place, Record
from layers.l2_instantiate.machines import ROOT, Container
from layers.l2_instantiate.settings import address_line
from layers.l2_instantiate.spec import Observed, ObservedDisk
from layers.l2_instantiate.wanted import Machine as Target
from layers.l2_instantiate.wanted import template_name

_MIB = 1024**2
_SLACK = 5.0  # seconds by which two clocks may differ about when it was started
_CD = "ide2"
_SIZES = ("cpu", "memory")


def observed(target: Target, place: Place, found: Found, now: Running | None) -> Observed | None:
    """What there is of a host; ``None``: nothing."""
    record, guest = place.read(), found.machine
    shelf = shelves.disks(found.shelf)
    attached = {d.volume: d.size for d in guest.drives()} if guest else {}
    disks = {
        name: ObservedDisk(
            # It grows through its machine; the shelf may not have heard of it.
            size=max(kept.drive.size, attached.get(kept.drive.volume, 0)),
            used=None,
            durable=kept.durable,
        )
        for name, kept in shelf.items()
    }
    if guest is None and found.namesake is not None:
        return _foreign(found.namesake, disks)
    if guest is None and not disks:
        empty = target.absent and found.shelf is not None
        return Observed(place=f"the empty shelf of {place.host}") if empty else None
    if guest is None:
        return Observed(exists=False, place=f"the shelf of {place.host}", disks=disks)
    if not is_whole(guest, record):
        return Observed(place=_where(guest), disks=disks, id=guest.vmid, node=guest.node)
    assert now is not None  # noqa: S101 (it was asked for, where there is a machine)
    names = {kept.drive.volume: name for name, kept in shelf.items()}
    return _whole(target, place, record, guest, now, disks, names)


def is_whole(guest: Guest, record: Record) -> bool:
    """Whether making it came to its end; without a record one that has all it needs is."""
    if guest.lock == "clone" or guest.root() is None:
        return False
    return record.whole or record.vmid != guest.vmid


def _foreign(guest: Guest, disks: dict[str, ObservedDisk]) -> Observed:
    mark = guest.mark
    owner = f"lab {mark.lab} for its host {mark.host}" if mark else ""
    return Observed(
        exists=False, owned=False, owner=owner, place=_where(guest), disks=disks, id=guest.vmid
    )


def _where(guest: Guest) -> str:
    what = "container" if guest.kind == LXC else "VM"
    return f"{what} {guest.vmid} on {guest.node}"


def _whole(
    target: Target,
    place: Place,
    record: Record,
    guest: Guest,
    now: Running,
    disks: dict[str, ObservedDisk],
    shelf: Mapping[str, str],
) -> Observed:
    root = guest.root()
    assert root is not None  # noqa: S101 (else it is not whole)
    here = settings_of(guest, guest.live, disks_of(guest))
    later = settings_of(guest, {**guest.live, **guest.later}, disks_of(guest))
    here["address"] = later["address"] = _told(target, place, record, guest)
    since = time.time() - now.since
    given = _given(target, place, record, guest)
    attached, extra = _attached(guest, root, shelf)
    return Observed(
        place=_where(guest),
        power=now.power,
        answers=record.answered >= since - _SLACK if now.power == "running" else True,
        template_name=_template(target, guest),
        cpu=cpu_of(guest.live),
        memory=memory_of(guest.live),
        disks={ROOT: ObservedDisk(size=root.size, used=None), **disks, **extra},
        attached=attached,
        root_at_boot=record.root_at_boot or root.size,
        settings=here,
        pending=_differing(guest, here, later),
        address=record.address or None,
        id=guest.vmid,
        node=guest.node,
        port=22,
        **given,
    )


def _template(target: Target, guest: Guest) -> str | None:
    said = guest.mark.more.get("template") if guest.mark else None
    return str(said) if said else template_name(target) and ""


def cpu_of(config: Mapping[str, Any]) -> int:
    """Its processors; of a container without a limit none can be told."""
    return int(config.get("cores") or 1) * int(config.get("sockets") or 1)


def memory_of(config: Mapping[str, Any]) -> int:
    """Its memory in bytes; ``current=`` is how some versions write it."""
    text = str(config.get("memory") or "512").split(",")[0].rpartition("=")[2]
    return int(text) * _MIB


def disks_of(guest: Guest) -> dict[str, str]:
    """Slot to the name that a boot order is told in."""
    root = guest.root()
    names = {d.slot: d.name for d in guest.drives() if d.name}
    return {**names, **({root.slot: ROOT} if root else {}), "net0": "net"}


def settings_of(
    guest: Guest, config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """The same keys as ``settings.settings``, as they are."""
    card = _words(str(config.get("net0") or ""))
    found: dict[str, Any] = {
        "name": config.get("hostname" if guest.kind == LXC else "name"),
        "bridge": card.get("bridge"),
        "vlan": int(card["tag"]) if "tag" in card else None,
        "mac": _mac(card),
        "firewall": card.get("firewall") == "1",
        "tags": guest.tags,
        "pool": guest.pool or None,
        "start": _start(config),
        "protection": str(config.get("protection") or "0") == "1",
    }
    if guest.kind == LXC:
        features = _words(str(config.get("features") or ""))
        swap = int(config.get("swap") or 0) * _MIB
        return found | {"swap": swap, "nesting": features.get("nesting") == "1"}
    # A CD that is put in is added to the order by the node itself, or not: a matter of luck there.
    slots = [slot for slot in boot_order(str(config.get("boot") or "")) if slot != _CD]
    order = [names.get(slot, slot) for slot in slots]
    agent = str(config.get("agent") or "0").split(",")[0].rpartition("=")[2]
    cpu = str(config.get("cpu") or "").split(",")[0].removeprefix("cputype=")
    return found | {"cpu type": cpu, "agent": agent == "1", "boot": order}


def _words(text: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in text.split(",") if word)


def _mac(card: Mapping[str, str]) -> str | None:
    """A container's is a word of its own; a machine's is the value of its model."""
    if "hwaddr" in card:
        return card["hwaddr"].upper()
    first = next((value for value in card.values() if value.count(":") == 5), None)  # noqa: PLR2004
    return first and first.upper()


def _start(config: Mapping[str, Any]) -> str:
    words = _words(str(config.get("startup") or ""))
    how = "at boot" if str(config.get("onboot") or "0") == "1" else "by hand"
    parts = [f"{name} {words[name]}" for name in ("order", "up", "down") if name in words]
    return ", ".join([how, *parts])


def _differing(guest: Guest, here: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in later.items() if here[name] != value}
    merged = {**guest.live, **guest.later}
    pairs = ((cpu_of, "cpu"), (memory_of, "memory"))
    for read, name in pairs:
        if read(merged) != read(guest.live):
            found[name] = read(merged)
    return found


def _attached(
    guest: Guest, root: Drive, shelf: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, ObservedDisk]]:
    """Names of the shelf's disks that it has; and disks of its own that nobody declared."""
    names: list[str] = []
    extra: dict[str, ObservedDisk] = {}
    for drive in guest.drives():
        if drive.is_cd or drive.slot == root.slot:
            continue
        if drive.owner == guest.vmid:
            lies = f"{drive.volume}, {drive.slot} of VM {guest.vmid}"
            extra[drive.slot] = ObservedDisk(size=drive.size, used=None, owned=False, place=lies)
        if not drive.slot.startswith("unused"):
            names.append(shelf.get(drive.volume, drive.slot))
    return tuple(sorted(names)), extra


def _has_seed(guest: Guest, volume: str) -> bool:
    return any(d.slot == _CD and d.volume == volume for d in guest.drives())


def _told(target: Target, place: Place, record: Record, guest: Guest) -> str:
    """What the guest was told about its network."""
    if isinstance(target.spec.machine, Container):
        return _lxc_address(guest)
    wanted = seeds.wanted(target, place)
    if wanted is not None and _has_seed(guest, wanted.volume):
        return address_line(target)
    return record.told if _has_seed(guest, record.seed) else "unknown"


def _lxc_address(guest: Guest) -> str:
    card = _words(guest.live.get("net0", ""))
    ip = card.get("ip") or card.get("ip6") or "dhcp"
    words = ["by DHCP" if ip == "dhcp" else ip]
    gateway = card.get("gw") or card.get("gw6")
    words += [f"gateway {gateway}"] if gateway else []
    dns, domain = guest.live.get("nameserver", ""), guest.live.get("searchdomain", "")
    words += [f"dns {dns}"] if dns else []
    words += [f"domain {domain}"] if domain else []
    return ", ".join(words)


def _given(target: Target, place: Place, record: Record, guest: Guest) -> dict[str, Any]:
    """Login and keys, where the machine has the seed that holds those that lie here."""
    login, identity = target.spec.machine.login, keys.read_login_key(place)
    path = str(place.login_key) if identity else None
    if isinstance(target.spec.machine, Container):
        same = record.identity in {"", identity}
        return {
            "user": login.user,
            "authorized_keys": record.authorized_keys if record.whole else login.key_lines,
            "host_key": target.spec.machine.host_key or "left to known_hosts",
            "identity_file": path if same else None,
        }
    host_key, wanted = keys.read_host_key(place), seeds.wanted(target, place)
    if wanted is not None and _has_seed(guest, wanted.volume):
        return {
            "user": login.user,
            "authorized_keys": login.key_lines,
            "host_key": host_key,
            "identity_file": path,
        }
    known = _has_seed(guest, record.seed)
    return {
        "user": record.user if known else "",
        "authorized_keys": record.authorized_keys if known else (),
        "host_key": host_key if known and host_key == record.host_key else None,
        "identity_file": path if known and identity == record.identity else None,
    }

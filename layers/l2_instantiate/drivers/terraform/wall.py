"""The wall around an isolated machine: rules of the node's firewall, outside of the guest.

Nothing goes out, and in comes one thing: a login from this machine. It stands before the machine
first runs: the options, which close everything, are put first, the rule second, and a start waits
until the node's daemon has surely taken them over.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from lab.clients.proxmox import Api
from lab.clients.proxmox.firewall import firewall_state
from lab.errors import DriverError
from lab.faults import point
from lab.model.pve_firewall import ELSEWHERE, SWITCH_NODE_ON, SWITCH_ON
from layers.l2_instantiate import isolation
from layers.l2_instantiate.drivers.terraform.guests import Guest
from layers.l2_instantiate.drivers.terraform.place import Place
from layers.l2_instantiate.settings import on
from layers.l2_instantiate.wanted import Machine as Target

SETTLE = 15.0
"""Seconds: the node's daemon compiles the rules of all machines, running or not, each 10 s."""

_CARD = re.compile(r"^net\d+$")
_MOST = 50  # rules that somebody else put there
_SSH = 22
_COMMENT = "Strata: its drill logs in"


def stands(api: Api, guest: Guest, target: Target, place: Place) -> bool:
    """Whether it is as it must be; read-only. Before its address is known nobody need come in."""
    address = _declared(target) or place.read().address
    return _stands(api, guest, target, address)


def build(api: Api, guest: Guest, target: Target, place: Place) -> None:
    """Put up what is missing, with its door where its address is declared.

    Returns once the machine may run. Raises DriverError where the cluster's firewall does not
    work: then it must not.
    """
    _require(api, guest, target)
    if not _stands(api, guest, target, _declared(target)):
        place.note(walled=0.0)
        target.report("closing it off")
        _put(api, guest, target, _declared(target))
        place.note(walled=time.time())
    _settle(api, guest, target, place)


def admit(api: Api, guest: Guest, target: Target, address: str) -> None:
    """While it runs: make the door for an address that DHCP gave it.

    Raises DriverError where the wall is no longer what it was when the machine started: it has run
    without since, and nobody knows for how long.
    """
    if not _stands(api, guest, target, _declared(target)):
        raise DriverError(
            f"Unable to go on with {target.host.name}: its firewall was changed while it ran.",
            hint=f"see who else works on VM {guest.vmid} on {guest.node}",
        )
    if not _declared(target):
        _put(api, guest, target, address)


def runner(target: Target, address: str) -> str:
    """This machine's address as one at ``address`` sees it; ``""`` where nothing tells."""
    declared = on(target).drills.runner
    if declared or not address:
        return declared or ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _SSH))  # sends nothing: the kernel looks up the way
            found: str = probe.getsockname()[0]
    except OSError as error:
        raise DriverError(
            f"Unable to close off {target.host.name}: no way leads from here to {address} "
            f"({error.strerror}).",
            hint="ip route get " + address,
        ) from error
    return found


def _settle(api: Api, guest: Guest, target: Target, place: Place) -> None:
    """Before it starts: what was put is known to the node's daemon by now, and still stands."""
    since = place.read().walled
    if since == 0.0:  # nobody knows: a run that was killed may have put it a moment ago
        since = time.time()
        place.note(walled=since)
    left = min(since + SETTLE - time.time(), SETTLE)
    if left > 0:
        target.report("waiting for the node's firewall")
        api.pause(left)
        if not _stands(api, guest, target, _declared(target)):
            raise DriverError(
                f"Unable to start {target.host.name}: somebody changes its firewall.",
                hint=f"pvesh get /{guest.path}/firewall/rules   (on {guest.node})",
            )
    point("l2.wall.stands")


def _require(api: Api, guest: Guest, target: Target) -> None:
    """The firewall works, and looks at each of its cards."""
    name, state = target.host.name, firewall_state(api, guest.node)
    if not state.is_on:
        off = state.node if state.cluster else state.cluster
        whose = f"node {guest.node}" if state.cluster else "cluster"
        what = "is off" if off is False else f"cannot be seen by {api.who}"
        mend = SWITCH_NODE_ON.format(node=guest.node) if state.cluster else SWITCH_ON
        raise DriverError(
            f"Unable to close off {name}: the firewall of the {whose} {what}.",
            hint=f"{mend}; {ELSEWHERE}",
        )
    cards = {**guest.live, **guest.later}
    open_ = [k for k, v in cards.items() if _CARD.match(k) and v and "firewall=1" not in v]
    if open_:
        raise DriverError(
            f"Unable to close off {name}: the firewall does not look at {', '.join(open_)} of VM "
            f"{guest.vmid}.",
            hint="take the card out of its template, or: lab plan shows what differs",
        )


def _stands(api: Api, guest: Guest, target: Target, address: str) -> bool:
    if _differing(api, guest, target):
        return False
    wanted = _doors(target, address)
    found = _rules(api, guest)
    if not wanted:  # who comes in is not known yet; one that was let in before may be
        return len(found) <= 1 and all(_is(rule, isolation.door(_source(rule))) for rule in found)
    return len(found) == 1 and _is(found[0], wanted[0])


def _put(api: Api, guest: Guest, target: Target, address: str) -> None:
    doing = f"close off {target.host.name}"
    path = f"{guest.path}/firewall"
    differing = _differing(api, guest, target)
    if differing:
        api.put(f"{path}/options", doing=doing, **differing)
    point("l2.wall.closed")
    doors = _doors(target, address)
    for _ in range(_MOST):
        rules = _rules(api, guest)
        wrong = [r for n, r in enumerate(rules) if n > 0 or not _any(r, doors)]
        if not wrong:
            break
        digest = wrong[-1].get("digest")
        api.delete(f"{path}/rules/{wrong[-1]['pos']}", doing=doing, digest=digest)
    if doors and not _rules(api, guest):
        api.post(f"{path}/rules", doing=doing, comment=_COMMENT, **doors[0])
        point("l2.wall.door")
    if not _stands(api, guest, target, address):
        raise DriverError(
            f"Unable to {doing}: what was put into its firewall is not there.",
            hint=f"pvesh get /{path}/rules   (on {guest.node}); then the same command again",
        )


def _differing(api: Api, guest: Guest, target: Target) -> dict[str, str]:
    doing = f"read the firewall of {target.host.name}"
    found = api.get(f"{guest.path}/firewall/options", doing=doing) or {}
    wanted = isolation.options(_declared(target))
    return {name: value for name, value in wanted.items() if str(found.get(name)) != value}


def _rules(api: Api, guest: Guest) -> list[Mapping[str, Any]]:
    doing = f"read the rules of VM {guest.vmid}"
    rules = api.get(f"{guest.path}/firewall/rules", doing=doing) or []
    return sorted(rules, key=lambda rule: int(rule["pos"]))


def _doors(target: Target, address: str) -> list[dict[str, str]]:
    source = runner(target, address)
    return [isolation.door(source)] if source and address else []


def _any(rule: Mapping[str, Any], doors: list[dict[str, str]]) -> bool:
    return any(_is(rule, door) for door in doors)


def _is(rule: Mapping[str, Any], door: Mapping[str, str]) -> bool:
    """That and nothing else: another key of a rule (a macro, an interface) makes it another."""
    kept = {
        k: str(v)
        for k, v in rule.items()
        if k not in {"pos", "digest", "comment", "ipversion", "log"}
    }
    return kept == dict(door)


def _source(rule: Mapping[str, Any]) -> str:
    return str(rule.get("source", ""))


def _declared(target: Target) -> str:
    return (target.host.address or "").split("/")[0]


__all__ = ["SETTLE", "admit", "build", "runner", "stands"]

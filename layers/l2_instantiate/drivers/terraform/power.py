"""Start a machine and see it come up; stop it in order."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from lab.clients.proxmox import Api, Refused, TaskFailed, wait
from lab.errors import DeadlineExceeded
from lab.faults import point
from layers.l2_instantiate import login, network
from layers.l2_instantiate.drivers.terraform import guests, wall
from layers.l2_instantiate.drivers.terraform.guests import LXC, Guest
from layers.l2_instantiate.drivers.terraform.place import Place
from layers.l2_instantiate.machines import ROOT, Container
from layers.l2_instantiate.wanted import Machine as Target

_GRACE = 90  # seconds for a guest to shut down, then it is ended
_START = 300.0
_BOOT = 240.0
_TICK = 0.3
_ALREADY = ("already running", "not running")


def start(api: Api, guest: Guest, target: Target, place: Place) -> None:
    """Let it run, or go on; it may run already. An isolated one never runs without its wall."""
    if target.spec.isolated:
        wall.build(api, guest, target, place)
    now = guests.running(api, guest).power
    verb = {"paused": "resume", "stopped": "start"}.get(now)
    if verb is None:
        return
    target.report("starting")
    _task(api, guest, verb, f"start {target.host.name}", _START)
    point("l2.guest.started")


def stop(api: Api, guest: Guest, target: Target, *, at_once: bool = False) -> None:
    """End it: the guest is asked first and given its time, unless there is nothing to save."""
    if guests.running(api, guest).power == "stopped":
        return
    doing = f"stop {target.host.name}"
    target.report("shutting down")
    if at_once:
        _task(api, guest, "stop", doing, _START)
    else:
        words = {"timeout": _GRACE, "forceStop": True}
        _task(api, guest, "shutdown", doing, _GRACE + 60.0, **words)
    point("l2.guest.stopped")


def _task(api: Api, guest: Guest, verb: str, doing: str, deadline: float, **words: Any) -> None:
    try:
        upid = api.post(f"{guest.path}/status/{verb}", doing=doing, **words)
        if upid:
            wait(api, str(upid), doing=doing, deadline=deadline)
    except (Refused, TaskFailed) as failed:
        if not any(word in failed.text for word in _ALREADY):
            raise


def address(api: Api, guest: Guest, target: Target) -> str:
    """Where it is found: as declared, else as its agent says; ``""``: nobody knows."""
    if target.host.address:
        return target.host.address.split("/")[0]
    if guest.kind == LXC:
        found: list[dict[str, Any]] = []
        with suppress(Refused):
            asked = f"ask for the address of {target.host.name}"
            found = api.get(f"{guest.path}/interfaces", doing=asked) or []
        texts = [str(card.get("inet", "")) for card in found if card.get("name") != "lo"]
        return next((text.split("/")[0] for text in texts if text), "")
    try:
        told = api.get(
            f"{guest.path}/agent/network-get-interfaces",
            doing=f"ask for the address of {target.host.name}",
        )
    except Refused:
        return ""
    cards = told.get("result") if isinstance(told, dict) else None
    for card in cards if isinstance(cards, list) else ():
        for one in card.get("ip-addresses") or ():
            text = str(one.get("ip-address", ""))
            if one.get("ip-address-type") == "ipv4" and not text.startswith("127."):
                return text
    return ""


def await_up(api: Api, guest: Guest, target: Target, place: Place) -> None:
    """Return once a login works. Raises DeadlineExceeded with what was seen instead."""
    began, why, where = time.monotonic(), "", ""
    limit = (target.spec.proxmox and target.spec.proxmox.boot_deadline) or _BOOT
    while True:
        place.workspace.check()
        if not where:
            where = address(api, guest, target)
            if where and target.spec.isolated:
                wall.admit(api, guest, target, where)
        if where and network.speaks_ssh(22, address=where):
            target.report("logging in")
            why = _refusal(target, place, where)
            if not why:
                break
        gone = time.monotonic() - began
        if gone > limit:
            raise _never_answered(api, guest, target, float(limit), why, where)
        target.report(f"booting ({gone:.0f} s)")
        place.workspace.cancelled.wait(_TICK)
    root = target.spec.machine.disks[ROOT].size
    place.note(answered=time.time(), address=where, root_at_boot=root)


def _refusal(target: Target, place: Place, where: str) -> str:
    if isinstance(target.spec.machine, Container) and not target.spec.machine.host_key:
        return ""  # its key is not known here: the layer above is strict about known_hosts
    return login.refusal(place, place.door(where))


def _never_answered(
    api: Api, guest: Guest, target: Target, limit: float, why: str, where: str
) -> DeadlineExceeded:
    name, state = target.host.name, guests.running(api, guest).power
    cause = f"its SSH answers, but: {why.rstrip('.')}" if why else f"nothing answers at {where}:22"
    if not where:
        cause = "neither the inventory nor its guest agent tells its address"
    return DeadlineExceeded(
        f"Unable to log in to {name}: after {limit:.0f} s VM {guest.vmid} is {state}, and {cause}.",
        hint=f"look at its console (VM {guest.vmid} on {guest.node}); then: "
        f"lab converge host={name} waits again",
    )

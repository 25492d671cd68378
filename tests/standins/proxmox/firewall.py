"""What the firewall of a cluster lets through: what was written, and what of it counts by now.

The daemon of a node compiles the rules of all guests, running or not, each ten seconds; until then
what was written before counts. `Firewalls.lag` is how long that takes here. After the source of
pve-firewall; no recording.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from dataclasses import dataclass, field
from typing import Any

from .world import Guest

CLUSTER = "cluster"
_OFF = {"", "0"}


@dataclass
class Written:
    """One firewall file: its options, and its rules, first to last."""

    options: dict[str, str] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)

    def copy(self) -> Written:
        """Another one like it."""
        return Written(dict(self.options), [dict(rule) for rule in self.rules])


def digest_of(what: Any) -> str:
    """Changes with it."""
    return hashlib.sha1(json.dumps(what, sort_keys=True).encode()).hexdigest()


class Firewalls:
    """All firewall files of a cluster: `cluster`, a node's by its name, a guest's by its VMID."""

    def __init__(self) -> None:
        self.lag = 0.0
        self._written: dict[str, list[tuple[float, Written]]] = {}

    def of(self, whose: str | int) -> Written:
        """As it is written now; changing it is `write`."""
        versions = self._written.get(str(whose))
        return versions[-1][1].copy() if versions else Written()

    def write(self, whose: str | int, what: Written) -> None:
        """From now on, and in force `lag` seconds later."""
        self._written.setdefault(str(whose), []).append((time.monotonic(), what.copy()))

    def clone(self, source: int, target: int) -> None:
        """A clone has the rules of what it was cloned from."""
        if str(source) in self._written:
            self.write(target, self.of(source))

    def remove(self, vmid: int) -> None:
        """They go with their guest."""
        self._written.pop(str(vmid), None)

    def in_force(self, whose: str | int) -> Written:
        """What the node's daemon has read."""
        now, found = time.monotonic(), Written()
        for at, what in self._written.get(str(whose), ()):
            if at + self.lag <= now:
                found = what
        return found

    def looks_at(self, guest: Guest, card: str = "net0") -> bool:
        """Whether anything of this guest is filtered at all."""
        on = self.in_force(CLUSTER).options.get("enable", "0") not in _OFF
        own = self.in_force(guest.vmid).options.get("enable", "0") not in _OFF
        return on and own and "firewall=1" in guest.config.get(card, "").split(",")

    def lets_in(self, guest: Guest, source: str, port: int, proto: str = "tcp") -> bool:
        """Whether a new connection from there arrives."""
        return self._verdict(guest, "in", {"proto": proto, "dport": port, "source": source})

    def lets_out(self, guest: Guest, dest: str, port: int, proto: str = "tcp") -> bool:
        """Whether a new connection to there leaves."""
        return self._verdict(guest, "out", {"proto": proto, "dport": port, "dest": dest})

    def _verdict(self, guest: Guest, way: str, packet: dict[str, Any]) -> bool:
        if not self.looks_at(guest):
            return True
        found = self.in_force(guest.vmid)
        for rule in found.rules:
            on = rule["type"] == way and str(rule.get("enable", 0)) not in _OFF
            if on and all(_matches(rule, key, value) for key, value in packet.items()):
                return bool(rule["action"] == "ACCEPT")
        usual = "DROP" if way == "in" else "ACCEPT"
        return found.options.get(f"policy_{way}", usual) == "ACCEPT"


def _matches(rule: dict[str, Any], key: str, value: Any) -> bool:
    wanted = rule.get(key)
    if wanted is None:
        return True
    if key in {"source", "dest"}:
        address = ipaddress.ip_address(value)
        return any(_within(address, one) for one in str(wanted).split(","))
    if key == "dport":
        return any(_in_range(int(value), one) for one in str(wanted).split(","))
    return bool(str(wanted) == str(value))


def _within(address: Any, text: str) -> bool:
    if "-" in text:
        first, last = (ipaddress.ip_address(one) for one in text.split("-"))
        return bool(first <= address <= last)
    return address in ipaddress.ip_network(text, strict=False)


def _in_range(port: int, text: str) -> bool:
    first, _, last = text.partition(":")
    return int(first) <= port <= int(last or first)

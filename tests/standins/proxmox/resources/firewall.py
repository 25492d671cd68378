"""The firewall of the cluster, its nodes and its guests: options and rules."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers, refused
from tests.standins.proxmox.firewall import CLUSTER, Written, digest_of

_GUESTS = ("/nodes/{node}/qemu/{vmid}/firewall", "/nodes/{node}/lxc/{vmid}/firewall")
_PLACES = ("/cluster/firewall", "/nodes/{node}/firewall", *_GUESTS)
_OPTIONS = tuple(f"{place}/options" for place in _PLACES)
_RULES = tuple(f"{place}/rules" for place in _PLACES)
_RULE = tuple(f"{path}/{{pos}}" for path in _RULES)
_NOT_KEPT = {"node", "vmid", "digest", "delete", "pos", "moveto"}
_NUMBERS = {"enable", "dhcp", "ndp", "radv", "macfilter", "ipfilter", "ebtables"}


@answers("GET", *_OPTIONS)
def options(call: Call) -> Any:
    found = call.world.firewalls.of(_whose(call)).options
    told = {key: int(value) if key in _NUMBERS else value for key, value in found.items()}
    return {**told, "digest": digest_of(found)}


@answers("PUT", *_OPTIONS)
def set_options(call: Call) -> Any:
    written = call.world.firewalls.of(_whose(call))
    _same(call, digest_of(written.options))
    for name in filter(None, (call.get("delete") or "").split(",")):
        written.options.pop(name, None)
    written.options |= _given(call)
    call.world.firewalls.write(_whose(call), written)


@answers("GET", *_RULES)
def rules(call: Call) -> Any:
    found = call.world.firewalls.of(_whose(call)).rules
    digest = digest_of(found)
    return [{**rule, "pos": pos, "digest": digest} for pos, rule in enumerate(found)]


@answers("POST", *_RULES)
def add_rule(call: Call) -> Any:
    written = call.world.firewalls.of(_whose(call))
    _same(call, digest_of(written.rules))
    rule: dict[str, Any] = {"enable": 0, **_given(call)}
    _check(rule)
    rule["enable"] = int(rule["enable"])
    written.rules.insert(0, rule)
    call.world.firewalls.write(_whose(call), written)


@answers("GET", *_RULE)
def rule(call: Call) -> Any:
    written, pos = _at(call)
    return {**written.rules[pos], "pos": pos}


@answers("PUT", *_RULE)
def change_rule(call: Call) -> Any:
    written, pos = _at(call)
    _same(call, digest_of(written.rules))
    moved = call.number("moveto")
    if moved is not None and moved != pos:
        written.rules.insert(moved, written.rules.pop(pos))
    else:
        changed = {**written.rules[pos], **_given(call)}
        for name in filter(None, (call.get("delete") or "").split(",")):
            changed.pop(name, None)
        _check(changed)
        written.rules[pos] = {**changed, "enable": int(changed["enable"])}
    call.world.firewalls.write(_whose(call), written)


@answers("DELETE", *_RULE)
def remove_rule(call: Call) -> Any:
    written, pos = _at(call)
    _same(call, digest_of(written.rules))
    del written.rules[pos]
    call.world.firewalls.write(_whose(call), written)


def _whose(call: Call) -> str:
    if call.get("vmid"):
        call.world.guest(call.vmid, call["node"], "lxc" if "/lxc/" in call.path else "qemu")
        return str(call.vmid)
    return call.get("node") or CLUSTER


def _given(call: Call) -> dict[str, str]:
    return {k: str(v) for k, v in call.parameters.items() if k not in _NOT_KEPT}


def _same(call: Call, digest: str) -> None:
    given = call.get("digest")
    if given and given != digest:
        raise ApiError("detected modified configuration - file changed by other user? Try again.")


def _at(call: Call) -> tuple[Written, int]:
    written, pos = call.world.firewalls.of(_whose(call)), call.number("pos") or 0
    if pos >= len(written.rules):
        raise ApiError(f"no rule at position {pos}")
    return written, pos


def _check(rule: dict[str, Any]) -> None:
    """What belongs together."""
    if rule.get("dport") and rule.get("proto") not in {"tcp", "udp", "6", "17"}:
        raise refused(dport="protocol does not support ports")

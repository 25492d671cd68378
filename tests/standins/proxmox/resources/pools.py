"""Pools: guests and storages under one name, and rights on them."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers

from .guest_lists import resource


@answers("GET", "/pools")
def pools(call: Call) -> Any:
    wanted = call.get("poolid")
    if wanted is None:
        return [
            _pool(call, name)
            for name in call.world.pools
            if call.may(f"/pool/{name}", "Pool.Audit")
        ]
    call.need(f"/pool/{wanted}", "Pool.Audit")
    return [{**_pool(call, _need(call, wanted)), "members": _members(call, wanted)}]


@answers("GET", "/pools/{poolid}")
def pool(call: Call) -> Any:
    name = _need(call, call["poolid"])
    found = _pool(call, name)
    found.pop("poolid")
    return {**found, "members": _members(call, name)}


@answers("POST", "/pools")
def create(call: Call) -> Any:
    if call["poolid"] in call.world.pools:
        raise ApiError(f"create pool failed: pool '{call['poolid']}' already exists")
    call.world.pools[call["poolid"]] = {"comment": call.get("comment")}


@answers("PUT", "/pools", "/pools/{poolid}")
def change(call: Call) -> Any:
    name = _need(call, call["poolid"])
    members = call.world.access.pool_of
    if call.get("comment") is not None:
        call.world.pools[name]["comment"] = call["comment"]
    for path in _paths(call):
        call.need_any(path, *(["Datastore.Allocate"] if "storage" in path else ["VM.Allocate"]))
        here = members.get(path)
        kind = "VM" if path.startswith("/vms") else "Storage"
        what = path.rpartition("/")[2]
        if call.flag("delete"):
            if here != name:
                raise ApiError(f"update pools failed: {kind} {what} is not a pool member")
            del members[path]
        elif here == name:
            raise ApiError(f"update pools failed: {kind} {what} is already a pool member")
        elif here and not call.flag("allow-move"):
            raise ApiError(
                f"update pools failed: {kind} {what} belongs already to pool '{here}' and"
                " allow-move is not set"
            )
        else:
            members[path] = name


@answers("DELETE", "/pools", "/pools/{poolid}")
def delete(call: Call) -> Any:
    name = _need(call, call["poolid"])
    if name in call.world.access.pool_of.values():
        raise ApiError(f"delete pool failed: pool '{name}' is not empty")
    del call.world.pools[name]


def _need(call: Call, name: str) -> str:
    if name not in call.world.pools:
        raise ApiError(f"pool '{name}' does not exist")
    return name


def _paths(call: Call) -> list[str]:
    found = []
    for key, start in (("vms", "/vms/"), ("storage", "/storage/")):
        found += [start + one for one in re.split(r"[,;\s]+", call.get(key) or "") if one]
    for path in found:
        what = path.rpartition("/")[2]
        if path.startswith("/vms/") and int(what) not in call.world.guests:
            raise ApiError(f"update pools failed: no such VM '{what}'")
        if path.startswith("/storage/") and what not in call.world.storages:
            raise ApiError(f"update pools failed: storage '{what}' does not exist")
    return found


def _pool(call: Call, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"poolid": name}
    if comment := call.world.pools[name].get("comment"):
        found["comment"] = comment
    return found


def _members(call: Call, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path, pool_name in call.world.access.pool_of.items():
        what = path.rpartition("/")[2]
        if pool_name != name:
            continue
        if path.startswith("/vms/") and call.may(path, "VM.Audit"):
            guest = resource(call.world, call.world.guests[int(what)])
            guest.pop("pool", None)
            guest.pop("tags", None)
            found.append(guest)
        elif path.startswith("/storage/"):
            found.append({"id": f"storage/{what}", "storage": what, "type": "storage"})
    return found

"""Storages: their configuration, and how full they are."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tests.standins.proxmox.calls import ApiError, Call, answers
from tests.standins.proxmox.storages import Storage

_KEPT = {"storage", "type", "content", "nodes", "disable", "shared", "path", "delete", "digest"}


@answers("GET", "/storage")
def storages(call: Call) -> Any:
    return [
        configuration(one)
        for one in call.world.storages.values()
        if _may_see(call, one) and call.get("type") in {None, one.kind}
    ]


@answers("GET", "/storage/{storage}")
def storage(call: Call) -> Any:
    return configuration(call.world.storage(call["storage"]))


@answers("POST", "/storage")
def create(call: Call) -> Any:
    name, kind = call["storage"], call["type"]
    if name in call.world.storages:
        raise ApiError(f"create storage failed: storage ID '{name}' already defined")
    made = Storage(name, kind)
    _fill(call, made)
    call.world.storages[name] = made
    return {"storage": name, "type": kind}


@answers("PUT", "/storage/{storage}")
def change(call: Call) -> Any:
    held = call.world.storages.get(call["storage"])
    if held is None:
        raise ApiError(f"update storage failed: storage '{call['storage']}' does not exist")
    if call.get("digest") and call["digest"] != configuration(held)["digest"]:
        raise ApiError(
            "update storage failed: detected modified configuration - file changed by"
            " other user? Try again."
        )
    _fill(call, held)
    return {"storage": held.name, "type": held.kind}


@answers("DELETE", "/storage/{storage}")
def delete(call: Call) -> Any:
    if call.world.storages.pop(call["storage"], None) is None:
        raise ApiError(f"delete storage failed: storage '{call['storage']}' does not exist")


@answers("GET", "/nodes/{node}/storage")
def on_node(call: Call) -> Any:
    found = []
    wanted = {one for one in re.split(r"[,;\s]+", call.get("content") or "") if one}
    for one in call.world.storages.values():
        if not one.serves(call["node"]) or not _may_see(call, one):
            continue
        if call.get("storage") not in {None, one.name} or (wanted and not wanted & one.content):
            continue
        if call.flag("enabled") and one.disabled:
            continue
        found.append({**_status(call, one), "storage": one.name})
    return found


@answers("GET", "/nodes/{node}/storage/{storage}/status")
def status(call: Call) -> Any:
    found = _status(call, call.world.storage(call["storage"], call["node"]))
    found.pop("used_fraction", None)
    return found


def configuration(storage: Storage) -> dict[str, Any]:
    """As `/storage` answers it."""
    found: dict[str, Any] = {
        "content": ",".join(sorted(storage.content)),
        "storage": storage.name,
        "type": storage.kind,
        **storage.options,
    }
    if storage.has_files:
        found |= {"path": storage.path, "prune-backups": "keep-all=1"}
    if storage.name == "local":
        found["priority"] = 0
    if storage.shared:
        found["shared"] = 1
    if storage.disabled:
        found["disable"] = 1
    if storage.nodes is not None:
        found["nodes"] = ",".join(sorted(storage.nodes))
    text = repr(sorted(found.items()))
    return found | {"digest": hashlib.sha1(text.encode()).hexdigest()}


def _fill(call: Call, storage: Storage) -> None:
    if content := call.get("content"):
        storage.content = {one for one in re.split(r"[,;\s]+", content) if one and one != "none"}
    if nodes := call.get("nodes"):
        storage.nodes = {one for one in re.split(r"[,;\s]+", nodes) if one}
    storage.path = call.get("path") or storage.path
    storage.disabled = call.flag("disable", default=storage.disabled)
    storage.shared = call.flag("shared", default=storage.shared)
    for key, value in call.parameters.items():
        if key not in _KEPT:
            storage.options[key] = str(value)
    for key in re.split(r"[,;\s]+", call.get("delete") or ""):
        storage.options.pop(key, None)
        if key == "nodes":
            storage.nodes = None
        if key == "disable":
            storage.disabled = False


def _may_see(call: Call, storage: Storage) -> bool:
    return call.may(f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace")


def _status(call: Call, storage: Storage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "active": int(not storage.disabled),
        "content": ",".join(sorted(storage.content)),
        "enabled": int(not storage.disabled),
        "shared": int(storage.shared),
        "type": storage.kind,
        "avail": 0,
        "total": 0,
        "used": 0,
    }
    if not storage.disabled:
        used = call.world.volumes.used(storage, call["node"])
        found |= {
            "avail": max(storage.total - used, 0),
            "total": storage.total,
            "used": used,
            "used_fraction": used / storage.total if storage.total else 0,
        }
    return found

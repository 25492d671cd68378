"""Tasks: lists, status, log, and stopping one."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox.calls import Answer, Call, answers, forbidden
from tests.standins.proxmox.tasks import Task


@answers("GET", "/nodes/{node}/tasks")
def tasks(call: Call) -> Any:
    found = [one for one in call.world.tasks.all() if _wanted(call, one)]
    start = call.number("start", 0) or 0
    limit = call.number("limit", 50) or 50
    shown = [_listed(one, archived=_archived(call)) for one in found[start : start + limit]]
    return Answer(shown, {"total": len(found)})


@answers("GET", "/cluster/tasks")
def cluster_tasks(call: Call) -> Any:
    audited = [one for one in call.world.tasks.all() if _may_see(call, one)]
    return [_listed(one, archived=not one.is_running) for one in audited[:25]]


@answers("GET", "/nodes/{node}/tasks/{upid}/status")
def status(call: Call) -> Any:
    task = call.world.tasks.find(call["upid"])
    _need_to_see(call, task)
    return call.world.tasks.status(task)


@answers("GET", "/nodes/{node}/tasks/{upid}/log")
def log(call: Call) -> Any:
    task = call.world.tasks.find(call["upid"])
    _need_to_see(call, task)
    start = call.number("start", 0) or 0
    limit = call.number("limit", 50)
    if limit is None:
        limit = 50
    lines = list(task.log) or ["no content"]
    until = None if limit == 0 else start + limit
    shown = [{"n": number, "t": text} for number, text in enumerate(lines, 1)]
    return Answer(shown[start:until], {"total": len(lines)})


@answers("DELETE", "/nodes/{node}/tasks/{upid}")
def stop(call: Call) -> Any:
    task = call.world.tasks.find(call["upid"])
    if task.who.user != call.who.user:
        call.need(f"/nodes/{call['node']}", "Sys.Modify")
    task.stop.set()


def _archived(call: Call) -> bool:
    return call.get("source", "archive") == "archive"


def _wanted(call: Call, task: Task) -> bool:
    source = call.get("source", "archive")
    if task.node != call["node"] or not _may_see(call, task):
        return False
    if (source == "archive" and task.is_running) or (source == "active" and not task.is_running):
        return False
    since, until = call.number("since"), call.number("until")
    if (since is not None and task.started < since) or (until is not None and task.started > until):
        return False
    kind, about = call.get("typefilter"), call.get("vmid")
    if (kind and task.kind != kind) or (about and task.about != about):
        return False
    return not (call.flag("errors") and task.exit_status == "OK")


def _listed(task: Task, *, archived: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": task.about,
        "node": task.node,
        "pid": task.pid,
        "pstart": task.begun,
        "starttime": task.started,
        "type": task.kind,
        "upid": task.upid,
    }
    if task.is_running:
        return found | {"saved": "0", "status": "RUNNING", "user": task.who.name}
    found |= {"endtime": task.ended, "status": task.exit_status, "user": task.who.user}
    if task.who.token:
        found["tokenid"] = task.who.token
    return found


def _may_see(call: Call, task: Task) -> bool:
    return task.who.user == call.who.user or call.may(f"/nodes/{task.node}", "Sys.Audit")


def _need_to_see(call: Call, task: Task) -> None:
    if not _may_see(call, task):
        raise forbidden(f"/nodes/{task.node}", "Sys.Audit")

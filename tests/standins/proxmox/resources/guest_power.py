"""Starting, stopping, shutting down, rebooting VMs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.standins.proxmox import drives, updates
from tests.standins.proxmox.calls import Call, answers, refused
from tests.standins.proxmox.tasks import Task, TaskError
from tests.standins.proxmox.world import Guest

_PATH = "/nodes/{node}/qemu/{vmid}/status/"


@answers("POST", _PATH + "start")
def start_vm(call: Call) -> Any:
    return _task(call, "qmstart", start)


@answers("POST", _PATH + "stop")
def stop_vm(call: Call) -> Any:
    guest = call.world.guest(call.vmid, call["node"])
    if call.flag("overrule-shutdown"):
        for task in call.world.tasks.all():
            if task.is_running and task.kind == "qmshutdown" and task.about == str(guest.vmid):
                task.stop.set()
    return _task(call, "qmstop", _stop)


@answers("POST", _PATH + "shutdown")
def shutdown_vm(call: Call) -> Any:
    return _task(call, "qmshutdown", _shutdown)


@answers("POST", _PATH + "reboot")
def reboot_vm(call: Call) -> Any:
    return _task(call, "qmreboot", _reboot)


@answers("POST", _PATH + "reset")
def reset_vm(call: Call) -> Any:
    return _task(call, "qmreset", _reset)


@answers("POST", _PATH + "suspend")
def suspend_vm(call: Call) -> Any:
    return _task(call, "qmsuspend", lambda c, g: _become(c, g, "paused"))


@answers("POST", _PATH + "resume")
def resume_vm(call: Call) -> Any:
    return _task(call, "qmresume", lambda c, g: _become(c, g, "running"))


Making = Callable[[Call, Guest], Callable[[Task], object]]


def start(call: Call, guest: Guest) -> Callable[[Task], object]:
    """The work of starting a VM."""
    world = call.world

    def work(task: Task) -> None:
        with world.lock:
            _may_start(call, guest)
            updates.apply_pending(call, guest)
            _check_start(call, guest)
            if updates.regenerate(guest):
                task.say("generating cloud-init ISO")
            files = _files(call, guest)
        token = _begin(call, guest, files)
        with world.lock:
            guest.token = token
            guest.running, guest.qmp = True, "running"
            guest.started, guest.pid = time.time(), world.new_pid()

    return work


def halt(call: Call, guest: Guest) -> None:
    """Stop a VM at once, and apply what waited for that."""
    world = call.world
    with world.lock:
        token, guest.token = guest.token, None
        was_running, guest.running, guest.qmp = guest.running, False, "stopped"
    if world.on_stop and was_running:
        world.on_stop(guest, token)
    with world.lock:
        updates.apply_pending(call, guest)


def _begin(call: Call, guest: Guest, files: dict[str, Path]) -> Any:
    """Hand a start to whoever starts real machines; his failure is the task's."""
    if call.world.on_start is None:
        return None
    try:
        return call.world.on_start(guest, dict(guest.config), files)
    except Exception as fault:
        raise TaskError(f"start failed: {fault}") from fault


def _task(call: Call, kind: str, making: Making) -> str:
    if call.flag("skiplock") and not call.who.is_root:
        raise refused(skiplock="Only root may use this option.")
    guest = call.world.guest(call.vmid, call["node"])
    work = making(call, guest)
    return call.world.tasks.start(guest.node, kind, str(guest.vmid), call.who, work, slow=True)


def _may_start(call: Call, guest: Guest) -> None:
    if not call.flag("skiplock"):
        guest.check_lock()
    if guest.is_template:
        raise TaskError("you can't start a vm if it's a template")
    if guest.running:
        raise TaskError(f"VM {guest.vmid} already running")


def _check_start(call: Call, guest: Guest) -> None:
    world = call.world
    node = world.nodes[guest.node]
    cpus = int(guest.config.get("cores", "1")) * int(guest.config.get("sockets", "1"))
    if cpus > node.cpus:
        raise TaskError(f"MAX {node.cpus} vcpus allowed per VM on this node")
    for key, value in guest.config.items():
        bridge = re.fullmatch(r"net\d+", key) and re.search(r"bridge=([^,]+)", value)
        if bridge and bridge[1] not in node.network:
            raise TaskError(f"bridge '{bridge[1]}' does not exist")
    for key in _drives(guest):
        drive = drives.parse(key, guest.config[key])
        if ":" in drive.file:
            world.volumes.need(drive.file, guest.node)
    for volid in re.findall(r"=([^=,]+:[^,]+)", guest.config.get("cicustom", "")):
        world.volumes.need(volid, guest.node)


def _stop(call: Call, guest: Guest) -> Callable[[Task], object]:
    def work(task: Task) -> None:
        guest.check_lock()
        others = [
            one
            for one in call.world.tasks.all()
            if one is not task
            and one.is_running
            and one.kind == "qmshutdown"
            and one.about == str(guest.vmid)
        ]
        if others:
            task.say("trying to acquire lock...")
            for one in others:
                while not one.done.is_set():
                    task.wait(0.02)
            task.say(" OK")
        halt(call, guest)

    return work


def _shutdown(call: Call, guest: Guest) -> Callable[[Task], object]:
    def work(task: Task) -> None:
        guest.check_lock()
        _power_down(call, task, guest)

    return work


def _power_down(call: Call, task: Task, guest: Guest) -> None:
    if not guest.running:
        return
    if not guest.listens:
        task.wait((call.number("timeout", 180) or 0) * call.world.patience)
        if not call.flag("forceStop"):
            raise TaskError("VM quit/powerdown failed - got timeout")
        task.say("VM still running - terminating now with SIGTERM")
    halt(call, guest)


def _reboot(call: Call, guest: Guest) -> Callable[[Task], object]:
    def work(task: Task) -> None:
        guest.check_lock()
        if not guest.running:
            raise TaskError(f"VM {guest.vmid} not running")
        _power_down(call, task, guest)
        start(call, guest)(task)

    return work


def _reset(_: Call, guest: Guest) -> Callable[[Task], object]:
    def work(_: Task) -> None:
        guest.check_lock()
        if not guest.running:
            raise TaskError(f"VM {guest.vmid} not running")
        guest.started = time.time()

    return work


def _become(_: Call, guest: Guest, status: str) -> Callable[[Task], object]:
    def work(_: Task) -> None:
        guest.check_lock()
        if not guest.running:
            raise TaskError(f"VM {guest.vmid} not running")
        guest.qmp = status

    return work


def _drives(guest: Guest) -> list[str]:
    return [key for key in guest.config if drives.KEY.fullmatch(key)]


def _files(call: Call, guest: Guest) -> dict[str, Path]:
    found = {}
    for key in _drives(guest):
        volume = call.world.volumes.find(drives.parse(key, guest.config[key]).file, guest.node)
        if volume and volume.file:
            found[key] = volume.file
    return found

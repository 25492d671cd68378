"""The changes this layer knows, each with what it interrupts, what it destroys and its deadline."""

from __future__ import annotations

from lab.model.plan import JSON, Action, Blocker, Change, FieldDiff
from lab.model.units import show_size, show_size_exact
from layers.l2_instantiate.machines import ROOT, Disk
from layers.l2_instantiate.spec import Observed, ObservedDisk, Spec
from layers.l2_instantiate.wanted import mount_lines, port_lines

MACHINE = "machine"
PORTS = "ports"
POWER = "power"
BOOT = "boot"
MARK = "mark"
_DISK = "disk "

# Two boots at 480 s without KVM, a graceful stop, and a turn in the queue of boots.
BOOT_DEADLINE = 1500.0
SHORT_DEADLINE = 60.0


def disk_thing(name: str) -> str:
    """What a change of that disk is called."""
    return f"{_DISK}{name}"


def disk_of(what: str) -> str | None:
    """The disk that a change is about, or ``None``."""
    return what.removeprefix(_DISK) if what.startswith(_DISK) else None


def diff(field: str, before: JSON, after: JSON) -> FieldDiff:
    """One attribute, old and new."""
    return FieldDiff(field, before, after)


def create_machine(fields: tuple[FieldDiff, ...], reason: str, destroys: str) -> Change:
    """The machine comes to be and boots."""
    return Change(
        Action.CREATE,
        MACHINE,
        fields,
        reason=reason,
        destroys=destroys,
        deadline=BOOT_DEADLINE,
    )


def replace_machine(host: str, fields: tuple[FieldDiff, ...], reason: str, lost: str) -> Change:
    """A new root disk from the template; durable disks and the host key stay."""
    return Change(
        Action.REPLACE,
        MACHINE,
        fields,
        reason=reason,
        destroys=lost,
        interrupts=f"{host} is rebuilt",
        disconnects=True,
        deadline=BOOT_DEADLINE,
    )


def update_machine(
    host: str, fields: tuple[FieldDiff, ...], *, running: bool, online: bool = False
) -> Change:
    """What a machine is started with changes: by a restart where it runs, unless it can online."""
    if online:
        return Change(Action.UPDATE, MACHINE, fields, deadline=SHORT_DEADLINE)
    return Change(
        Action.UPDATE,
        MACHINE,
        fields,
        reason="takes effect at a restart" if running else "takes effect when it starts",
        interrupts=f"{host} restarts" if running else "",
        disconnects=running,
        deadline=BOOT_DEADLINE if running else SHORT_DEADLINE,
    )


def delete_machine(host: str, lost: str) -> Change:
    """The machine goes for good."""
    return Change(
        Action.DELETE,
        MACHINE,
        destroys=lost,
        interrupts=f"{host} stops",
        disconnects=True,
        deadline=120.0,
    )


def create_disk(name: str, disk: Disk, reason: str) -> Change:
    """A blank disk."""
    fields = (diff("size", None, show_size_exact(disk.size)), diff("durable", None, disk.durable))
    return Change(Action.CREATE, disk_thing(name), fields, reason=reason, deadline=SHORT_DEADLINE)


def update_disk(name: str, fields: tuple[FieldDiff, ...]) -> Change:
    """A disk grows, online, or changes its standing."""
    return Change(Action.UPDATE, disk_thing(name), fields, deadline=SHORT_DEADLINE)


def delete_disk(name: str, disk: ObservedDisk, reason: str) -> Change:
    """A disk and everything on it goes for good."""
    return Change(
        Action.DELETE,
        disk_thing(name),
        reason=reason,
        destroys=lost_disk(name, disk),
        deadline=SHORT_DEADLINE,
    )


def update_ports(before: tuple[str, ...], after: tuple[str, ...]) -> Change:
    """Forwards come and go while it runs."""
    fields = (diff(PORTS, list(before), list(after)),)
    return Change(Action.UPDATE, PORTS, fields, deadline=SHORT_DEADLINE)


def power_on(before: str, reason: str) -> Change:
    """A machine that is off, or stands still, runs again."""
    fields = (diff(POWER, before, "running"),)
    return Change(Action.UPDATE, POWER, fields, reason=reason, deadline=BOOT_DEADLINE)


def await_boot() -> Change:
    """Somebody started it and did not stay to see it come up."""
    fields = (diff(BOOT, "starting", "up"),)
    reason = "it runs, and no login was seen to work since it started"
    return Change(Action.UPDATE, BOOT, fields, reason=reason, deadline=BOOT_DEADLINE)


def take_over(what: str, owner: str) -> Change:
    """What somebody else made gets our mark, and is otherwise left as it is."""
    fields = (diff("owner", owner or "nobody", "this lab"),)
    return Change(Action.UPDATE, what, fields, reason="--adopt", deadline=SHORT_DEADLINE)


def lost_disk(name: str, disk: ObservedDisk) -> str:
    """What is lost with a disk, in words."""
    title = "root disk" if name == ROOT else f"disk {name}"
    if disk.used is None:
        return f"{title} and all that is on it"
    return f"{title}, {show_size(disk.used)} used of {show_size(disk.size)}"


def not_ours(what: str, host: str, observed: Observed) -> Blocker:
    """A machine or disk in our place, made by somebody else."""
    who = f"was made by {observed.owner}" if observed.owner else "does not say who made it"
    return Blocker(
        what,
        f"{observed.place or what} exists already and {who}",
        hint=f"move it away, or take it over: lab converge host={host} --adopt",
    )


def no_shrinking(name: str, host: str, is_now: int, wanted: int) -> Blocker:
    """A disk that is declared smaller than it is."""
    way = (
        f"copy what is on it elsewhere, lab destroy host={host} --with-data, lab converge"
        if name != ROOT
        else f"lab destroy host={host}, lab converge (other disks are kept)"
    )
    return Blocker(
        disk_thing(name),
        f"it has {show_size_exact(is_now)} and {show_size_exact(wanted)} is declared: disks only "
        "grow, because cutting one off would destroy what lies at its end",
        hint=f"write size: {show_size_exact(is_now)}; or make it anew: {way}",
    )


def creation_fields(spec: Spec, template_name: str | None) -> tuple[FieldDiff, ...]:
    """What a new machine will be."""
    machine = spec.machine
    values: list[tuple[str, JSON]] = [
        ("template_name", template_name),
        ("cpu", machine.cpu),
        ("memory", show_size_exact(machine.memory)),
        ("disk root", show_size_exact(machine.disks[ROOT].size)),
        ("mounts", list(mount_lines(spec))),
        ("ports", list(port_lines(spec))),
        ("user", machine.login.user),
    ]
    return tuple(diff(name, None, value) for name, value in values if value not in (None, []))

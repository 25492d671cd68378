"""Pure: what a machine that its provider makes needs to be as declared, and what it hands up."""

from __future__ import annotations

import ipaddress

from lab.layer import Above, Claim, Prediction
from lab.model.host import Host, Part
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan
from lab.model.undeclared import Known, Sort
from lab.model.units import show_size_exact
from layers.l2_instantiate import placing, remarks, steps
from layers.l2_instantiate.isolation import alone
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.ports import LOOPBACK, Forward
from layers.l2_instantiate.proxmox import ProxmoxProvider
from layers.l2_instantiate.spec import Document, Observed, Outputs, Spec
from layers.l2_instantiate.wanted import (
    Machine,
    extra_disks,
    mount_lines,
    port_lines,
    template_name,
)

_UNENFORCED = "a container's disks share this machine's: their sizes are not enforced"


def parts(document: Document) -> tuple[Part, ...]:
    """One machine."""
    provider, machine = document.provider, document.machine
    if machine is None:
        return ()
    if isinstance(provider, ProxmoxProvider):
        machine = alone(machine) if provider.isolated else machine
        spec = Spec(machine=machine, proxmox=provider, isolated=provider.isolated)
        return (Part("", "terraform", spec),)
    spec = Spec(
        machine=machine,
        engine=provider.engine,
        isolated=provider.isolated,
        accelerator=provider.accelerator,
        firmware=provider.firmware,
        boot_deadline=provider.boot_deadline,
    )
    return (Part("", provider.kind, spec),)


def claims(host: Host, part: Part) -> tuple[Claim, ...]:  # noqa: ARG001 (the protocol's signature)
    """The ports of this machine that it takes."""
    assert isinstance(part.spec, Spec)  # noqa: S101 (for the type checker)
    if part.spec.proxmox is not None:
        return ()
    return tuple(Claim(p.claim, ("machine", "ports", p.key)) for p in part.spec.machine.ports)


def check(host: Host, part: Part) -> placing.Problems:
    """Addresses: only a machine that is there may have a name for one. Mounts.

    A container has no disks that somebody could mount later.
    """
    assert isinstance(part.spec, Spec)  # noqa: S101 (for the type checker)
    try:
        ipaddress.ip_interface(host.address or LOOPBACK)
    except ValueError:
        what = f"{host.address!r} is not an address: write it like 192.0.2.11/24"
        return ((("address",), f"{what} (a name is for machines that are there already)"),)
    if part.spec.proxmox is not None:
        return placing.problems(host, part.spec)
    elsewhere = placing.misplaced(part)
    if elsewhere or part.spec.engine is None:
        return elsewhere
    return tuple(
        (
            ("machine", "disks", name),
            f"for kind docker the disk {name} needs its place: mount: /srv",
        )
        for name in extra_disks(part.spec)
        if part.spec.machine.disks[name].mount is None
    )


def known(host: Host, part: Part) -> Known:  # noqa: ARG001 (the protocol's signature)
    """Who logs in, with which keys and rights: a machine that is made gets them from here."""
    assert isinstance(part.spec, Spec)  # noqa: S101 (for the type checker)
    login = part.spec.machine.login
    keys = (word for line in login.key_lines for word in line.split())
    files = ((Sort.FILE, path) for path in ("/etc/sudoers.d/90-login", "/etc/first-start"))
    return frozenset({(Sort.USER, login.user), *((Sort.KEY, word) for word in keys), *files})


def plan(target: Machine, observed: Observed | None, replace_on: frozenset[str]) -> Plan:
    """The changes, in the order they are carried out: disks before the machine that boots them."""
    if target.absent:
        return _removal(target, observed)
    if observed is None:
        return _creation(target, None)
    if not observed.owned and not target.adopt:
        return Plan(blockers=(steps.not_ours(steps.MACHINE, target.host.name, observed),))
    if not observed.exists or ROOT not in observed.disks:
        return _creation(target, observed)
    return _changes(target, observed, replace_on)


def predict(target: Machine, observed: Observed | None, plan: Plan) -> Prediction:
    """What will be handed up, and whether the layers above can look at it now."""
    if observed is not None and observed.exists and observed.owned:
        handed = outputs(target, observed)
    else:
        handed = _ahead(target)
    above = Above.AS_IS
    for change in plan.changes:
        if change.what == steps.MACHINE and change.action in {Action.CREATE, Action.REPLACE}:
            above = Above.FRESH
        elif change.what in {steps.POWER, steps.BOOT}:
            above = Above.UNSEEN
    return Prediction(handed, above)


def outputs(target: Machine, observed: Observed) -> Outputs:
    """How to reach a machine that is there."""
    if target.spec.proxmox is not None:
        return placing.outputs(target, observed)
    return Outputs(
        address=LOOPBACK,
        port=observed.port,
        user=target.spec.machine.login.user,
        host_key=observed.host_key,
        identity_file=observed.identity_file,
        endpoints=_endpoints(target.spec.machine.ports),
    )


def _ahead(target: Machine) -> Outputs:
    """What is known of a machine before it exists."""
    if target.spec.proxmox is not None:
        return placing.outputs(target, Observed(exists=False))
    machine = target.spec.machine
    return Outputs(address=LOOPBACK, user=machine.login.user, endpoints=_endpoints(machine.ports))


def _endpoints(ports: tuple[Forward, ...]) -> dict[str, str]:
    return {str(p.guest): p.near for p in ports if p.protocol == "tcp"}


def _creation(target: Machine, left: Observed | None) -> Plan:
    """A machine from nothing, or from what was left of it."""
    disks, blockers, notes = _disk_changes(target, left)
    reason = destroys = ""
    container = target.spec.engine is not None
    if left is not None and left.exists and target.spec.proxmox is not None:
        reason = "an earlier run did not finish it"
    elif left is not None and left.exists:
        reason = "its container is not there" if container else "its root disk is gone"
    elif left is not None and not left.owned:
        reason, destroys = "--adopt", f"what lies in {left.place}"
    fields = steps.creation_fields(target.spec, template_name(target))
    machine = steps.create_machine(fields, reason, destroys)
    notes += (_UNENFORCED,) if container else ()
    return Plan((*disks, machine, *_dropped(target, left)), blockers, notes=notes)


def _changes(target: Machine, observed: Observed, replace_on: frozenset[str]) -> Plan:
    host = target.host.name
    disks, blockers, notes = _disk_changes(target, observed)
    mark = () if observed.owned else (steps.take_over(steps.MARK, observed.owner),)
    fields = (*_machine_fields(target, observed), *_fixed_fields(target, observed))
    replaced = target.renew or any(f.field in replace_on for f in fields)
    if replaced and target.spec.machine.protection:
        return Plan(blockers=(placing.held(host),))
    if replaced:
        reason = "asked for" if target.renew else _why_replaced(target, observed)
        lost = _disposable(observed, set(target.spec.machine.disks))
        machine = steps.replace_machine(host, fields, reason, lost)
        changes = (*mark, *disks, machine, *_dropped(target, observed))
        return Plan(changes, blockers, notes=notes)

    root, root_blockers = _root_growth(target, observed)
    running = observed.power != "stopped"
    container = target.spec.engine is not None
    middle: list[Change] = []
    if observed.ports != port_lines(target.spec):
        middle.append(steps.update_ports(observed.ports, port_lines(target.spec)))
    online = container or placing.is_online(target, fields)
    if fields:
        middle.append(steps.update_machine(host, fields, running=running, online=online))
    power = _power(target, observed, restarts=bool(fields) and running and not online)
    changes = (*mark, *disks, *root, *middle, *_dropped(target, observed), *power)
    notes += (*remarks.slow(target, observed), *remarks.behind(target, observed))
    return Plan(changes, (*blockers, *root_blockers), notes=notes)


def _machine_fields(target: Machine, observed: Observed) -> tuple[FieldDiff, ...]:
    """What a machine is made or started with, where it differs."""
    machine, wanted = target.spec.machine, template_name(target)
    fields: list[FieldDiff] = []
    if (
        wanted is not None
        and observed.template_name != wanted
        and not remarks.is_behind(target, observed)
    ):
        fields.append(steps.diff("template_name", observed.template_name or None, wanted))
    if observed.cpu != machine.cpu:
        fields.append(steps.diff("cpu", observed.cpu, machine.cpu))
    if observed.memory != machine.memory:
        before, after = show_size_exact(observed.memory), show_size_exact(machine.memory)
        fields.append(steps.diff("memory", before, after))
    runs = observed.power != "stopped"
    if runs and target.spec.accelerator not in {"auto", observed.accelerator}:
        fields.append(steps.diff("accelerator", observed.accelerator, target.spec.accelerator))
    if target.spec.engine is None and observed.attached != extra_disks(target.spec):
        fields.append(steps.diff("disks", list(observed.attached), list(extra_disks(target.spec))))
    if target.spec.engine is None and observed.isolated != target.spec.isolated:
        fields.append(steps.diff("isolated", observed.isolated, target.spec.isolated))
    root = machine.disks[ROOT].size
    if runs and observed.root_at_boot < root:
        before, after = show_size_exact(observed.root_at_boot), show_size_exact(root)
        fields.append(steps.diff("root filesystem", before, after))
    fields += placing.fields(target, observed)
    return (*fields, *_login_fields(target, observed))


def _fixed_fields(target: Machine, observed: Observed) -> tuple[FieldDiff, ...]:
    """What a container has for life: where its disks are, and its ports."""
    if target.spec.engine is None:
        return ()
    pairs = (
        ("mounts", observed.mounts, mount_lines(target.spec)),
        ("ports", observed.ports, port_lines(target.spec)),
    )
    return tuple(
        steps.diff(name, [*before], [*after]) for name, before, after in pairs if before != after
    )


def _why_replaced(target: Machine, observed: Observed) -> str:
    if observed.template_name == "":
        return "its template is gone or was rebuilt underneath it"
    if template_name(target) not in {None, observed.template_name}:
        return "new template"
    return "a container gets its ports and disks when it is made"


def _login_fields(target: Machine, observed: Observed) -> tuple[FieldDiff, ...]:
    """Who may log in, and by which keys: the guest reads it from its seed when it starts."""
    login = target.spec.machine.login
    fields: list[FieldDiff] = []
    if observed.user != login.user:
        fields.append(steps.diff("user", observed.user, login.user))
    if observed.authorized_keys != login.key_lines:
        old, new = list(observed.authorized_keys), list(login.key_lines)
        fields.append(FieldDiff("authorized_keys", [*old], [*new]))
    if observed.power == "stopped":  # it is given its keys whenever it starts
        return tuple(fields)
    if observed.host_key is None:
        fields.append(steps.diff("host key", None, "a new one"))
    if observed.identity_file is None:
        fields.append(steps.diff("the lab's login key", None, "the lab's own"))
    return tuple(fields)


def _disk_changes(
    target: Machine, observed: Observed | None
) -> tuple[tuple[Change, ...], tuple[Blocker, ...], tuple[str, ...]]:
    """The disks besides root: made, grown, marked; never cut off, never silently dropped."""
    host, disks = target.host.name, observed.disks if observed else {}
    changes: list[Change] = []
    blockers: list[Blocker] = []
    for name in extra_disks(target.spec):
        declared, found = target.spec.machine.disks[name], disks.get(name)
        if found is None:
            lost = observed is not None and name in observed.attached
            what = "file" if target.spec.engine is None else "volume"
            reason = f"its {what} is gone" if lost else ""
            changes.append(steps.create_disk(name, declared, reason))
            continue
        if not found.owned and not target.adopt:
            place = Observed(owned=False, place=found.place)
            blockers.append(steps.not_ours(steps.disk_thing(name), host, place))
        elif not found.owned:
            changes.append(steps.take_over(steps.disk_thing(name), ""))
        if found.size > declared.size:
            blockers.append(steps.no_shrinking(name, host, found.size, declared.size))
            continue
        fields: list[FieldDiff] = []
        if found.size < declared.size:
            before, after = show_size_exact(found.size), show_size_exact(declared.size)
            fields.append(steps.diff("size", before, after))
        if found.owned and found.durable != declared.durable:
            fields.append(steps.diff("durable", found.durable, declared.durable))
        if fields:
            changes.append(steps.update_disk(name, tuple(fields)))
    notes = tuple(
        f"disk {name} of {host} is no longer declared; its contents are kept"
        for name, disk in sorted(disks.items())
        if name not in target.spec.machine.disks and (disk.durable or not disk.owned)
    )
    return tuple(changes), tuple(blockers), notes


def _root_growth(
    target: Machine, observed: Observed
) -> tuple[tuple[Change, ...], tuple[Blocker, ...]]:
    is_now, wanted = observed.disks[ROOT].size, target.spec.machine.disks[ROOT].size
    if is_now > wanted:
        return (), (steps.no_shrinking(ROOT, target.host.name, is_now, wanted),)
    if is_now < wanted:
        field = steps.diff("size", show_size_exact(is_now), show_size_exact(wanted))
        return (steps.update_disk(ROOT, (field,)),), ()
    return (), ()


def _dropped(target: Machine, observed: Observed | None) -> tuple[Change, ...]:
    """Disposable disks that are no longer declared."""
    return tuple(
        steps.delete_disk(name, disk, "no longer declared")
        for name, disk in sorted((observed.disks if observed else {}).items())
        if name not in target.spec.machine.disks and disk.owned and not disk.durable
    )


def _power(target: Machine, observed: Observed, *, restarts: bool) -> tuple[Change, ...]:
    if restarts:
        return ()
    container = target.spec.engine is not None
    if observed.power == "stopped":
        what = "its container" if container else "its QEMU"
        why = f"{what} does not run" if target.spec.proxmox is None else "it is off"
        return (steps.power_on("stopped", why),)
    if observed.power == "paused":
        why = "its container is paused" if container else "QEMU holds it still"
        return (steps.power_on("paused", why),)
    return () if observed.answers else (steps.await_boot(),)


def _disposable(observed: Observed, names: set[str]) -> str:
    return "; ".join(
        steps.lost_disk(name, disk)
        for name, disk in sorted(observed.disks.items(), key=lambda d: d[0] != ROOT)
        if name in names and disk.owned and not disk.durable
    )


def _removal(target: Machine, observed: Observed | None) -> Plan:
    """Everything that is disposable goes; durable disks only where the user asked for that too."""
    host = target.host.name
    if observed is None:
        return Plan()
    if not observed.owned and not target.adopt:
        return Plan(blockers=(steps.not_ours(steps.MACHINE, host, observed),))
    if observed.exists and observed.owned and placing.is_held(observed):
        return Plan(blockers=(placing.held(host),))
    changes: list[Change] = []
    notes: list[str] = []
    if observed.exists:
        root = observed.disks.get(ROOT)
        lost = steps.lost_disk(ROOT, root) if root else ""
        changes.append(steps.delete_machine(host, lost))
    elif not observed.owned:
        changes.append(steps.delete_machine(host, f"what lies in {observed.place}"))
    for name, disk in sorted(observed.disks.items()):
        if name == ROOT:
            continue
        if disk.owned and (target.with_data or not disk.durable):
            changes.append(steps.delete_disk(name, disk, ""))
        else:
            notes.append(f"disk {name} of {host} is kept")
    return Plan(tuple(changes), notes=tuple(notes))

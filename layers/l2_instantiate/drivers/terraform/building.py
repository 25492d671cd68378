"""What makes, changes and removes a machine: tofu, between what only the API can say and do."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

from lab.clients.proxmox import Api
from lab.errors import DriverError, Stale
from lab.faults import point
from lab.model.plan import Action, Change
from layers.l2_instantiate import keys
from layers.l2_instantiate.drivers.terraform import guests, power, rendering
from layers.l2_instantiate.drivers.terraform import seed as seeds
from layers.l2_instantiate.drivers.terraform import shelf as shelves
from layers.l2_instantiate.drivers.terraform.guests import Found, Guest
from layers.l2_instantiate.drivers.terraform.numbers import Numbers
from layers.l2_instantiate.drivers.terraform.place import MACHINE, Place
from layers.l2_instantiate.drivers.terraform.project import Project
from layers.l2_instantiate.drivers.terraform.rendering import Body
from layers.l2_instantiate.drivers.terraform.seen import is_whole
from layers.l2_instantiate.drivers.terraform.shelf import Shelf
from layers.l2_instantiate.machines import ROOT, Container, Machine
from layers.l2_instantiate.placing import is_online
from layers.l2_instantiate.settings import on
from layers.l2_instantiate.wanted import Machine as Target
from layers.l2_instantiate.wanted import template_name

_TRIES = 4
_UNLOCKED = 900.0
_TICK = 1.0
_TAKEN = "already exists"


@dataclass(frozen=True)
class Builder:
    """The hands of one change of one host. Every method may be repeated after a crash."""

    api: Api
    target: Target
    place: Place
    project: Project

    def find(self) -> Found:
        """What there is of the host now."""
        record = self.place.read()
        return guests.find(self.api, self.place, machine=record.vmid, shelf=record.shelf)

    def require(self, found: Found) -> Guest:
        """The machine, which must be there."""
        if found.machine is None:
            raise DriverError(
                f"Unable to change {self.place.host}: its machine is gone.",
                hint=f"lab plan host={self.place.host}",
            )
        return found.machine

    def clear(self) -> None:
        """Remove what an earlier run left half made, and only that: it has our mark."""
        guest = self.find().machine
        if guest is None:
            return
        guest = self._unlocked(guest)
        if guest is None or not self.place.is_ours(guest.mark, MACHINE):
            return  # somebody else's by now
        if is_whole(guest, self.place.read()):
            raise Stale(
                f"Unable to make {self.place.host}: its machine is there after all, VM "
                f"{guest.vmid} on {guest.node}.",
                hint=f"lab plan host={self.place.host}",
            )
        self.target.report("removing what was left half made")
        self._remove(guest)

    def make(self) -> None:
        """A machine that boots and answers; another VMID where somebody takes ours first."""
        place, target = self.place, self.target
        keys.make_host_key(place)
        keys.make_login_key(place)
        node = self._node()
        self.bring_seed(node)
        for attempt in range(_TRIES):
            vmid = self._claim(node)
            body = self._fresh_body(vmid, node)
            doing = f"make {place.host}"
            try:
                self._carry_out(body, doing, frozenset({Action.CREATE, Action.REPLACE}))
            except DriverError as error:
                if not self._was_taken(error, vmid) or attempt == _TRIES - 1:
                    raise
                place.note(vmid=0)
                continue
            break
        guest = self.require(self.find())
        place.note(whole=True, node=guest.node, answered=0.0, **self._given())
        point("l2.guest.made")
        power.start(self.api, guest, target, place)
        power.await_up(self.api, guest, target, place)

    def change(self, change: Change) -> None:
        """What differs: while it runs where that can be, else with one restart."""
        target, place, api = self.target, self.place, self.api
        guest = self.require(self.find())
        ran = guests.running(api, guest).power != "stopped"
        keys.make_host_key(place)
        keys.make_login_key(place)
        self.bring_seed(guest.node)
        restarts = ran and not is_online(target, change.fields)
        if restarts:
            power.stop(api, guest, target)
        if any(f.field == "disks" for f in change.fields):
            self._unprotect(guest, f"change {place.host}")
        body = self._body(guest, found=True)
        self._carry_out(body, f"change {place.host}", frozenset({Action.UPDATE}))
        answered = {"answered": 0.0} if restarts or not ran else {}
        place.note(vmid=guest.vmid, node=guest.node, whole=True, **self._given(), **answered)
        point("l2.guest.changed")
        guest = self.require(self.find())
        if restarts or not ran:
            power.start(api, guest, target, place)
            power.await_up(api, guest, target, place)
        if isinstance(target.spec.machine, Machine):
            seeds.sweep(api, place, guest.node, on(target).seed_storage, body.seed)

    def grow_root(self, guest: Guest) -> None:
        """Let the root disk grow; the guest's filesystem follows at its next start."""
        root = guest.root()
        assert root is not None  # noqa: S101 (it was planned from it)
        size = self.target.spec.machine.disks[ROOT].size
        doing = f"let the root disk of {self.place.host} grow"
        shelves.grow(self.api, guest, root.slot, size, doing)

    def remove(self) -> None:
        """The machine goes, in order; every disk but its root and its CD stays."""
        guest = self.find().machine
        if guest is not None:
            guest = self._unlocked(guest)
        if guest is not None and self.place.is_ours(guest.mark, MACHINE):
            self._remove(guest)

    def empty_disposable(self) -> None:
        """Disks that are not durable start anew with their machine, which is gone."""
        shelf = Shelf(self.api, self.target, self.place, self.find().shelf)
        for name, kept in shelves.disks(shelf.guest).items():
            disk = self.target.spec.machine.disks.get(name)
            if disk is not None and not disk.durable and not kept.durable:
                shelf.drop(name)
                shelf.put(name, disk)

    def forget(self) -> None:
        """Nothing of a machine that is gone stays on this machine, or on the seeds' storage."""
        provider, place = on(self.target), self.place
        record = place.read()
        if isinstance(self.target.spec.machine, Machine):
            node = record.node or provider.node
            seeds.sweep(self.api, place, node, provider.seed_storage)
        shelf = Shelf(self.api, self.target, place, self.find().shelf)
        if not shelves.disks(shelf.guest):
            shelf.remove()
        self.project.forget()
        for folder in (place.host_keys, place.home):
            shutil.rmtree(folder, ignore_errors=True)

    def bring_seed(self, node: str) -> None:
        """Its seed lies on the node's storage; a container needs none."""
        wanted = seeds.wanted(self.target, self.place)
        if wanted is not None:
            seeds.bring(self.api, node, wanted)

    def _remove(self, guest: Guest) -> None:
        api, target, place = self.api, self.target, self.place
        shelf = Shelf(api, target, place, self.find().shelf)
        at_once = not any(kept.durable for kept in shelves.disks(shelf.guest).values())
        power.stop(api, guest, target, at_once=at_once)
        guest = self._let_go(guest, shelf)
        doing = f"remove {place.host}"
        body = self._body(guest)
        self._carry_out(body, doing, frozenset({Action.DELETE}))
        point("l2.guest.removed")
        api.touched()
        left = self.find().machine
        if left is not None:  # tofu knew nothing of it
            shelves.remove(api, left, doing)
        place.note(whole=False, answered=0.0)

    def _let_go(self, guest: Guest, shelf: Shelf) -> Guest:
        """Detach the shelf's disks; take over any disk of its own that nobody declared."""
        root = guest.root()
        doing = f"detach the disks of {self.place.host}"
        self._unprotect(guest, doing)
        ours = {kept.drive.volume for kept in shelves.disks(shelf.guest).values()}
        slots = [d.slot for d in guest.drives() if d.volume in ours]
        if slots:
            self.api.put(f"{guest.path}/config", doing=doing, delete=",".join(slots))
            point("l2.guest.detached")
        for drive in guest.drives():
            is_root = root is not None and drive.slot == root.slot
            if drive.owner == guest.vmid and not is_root and not drive.is_cd and self._matters():
                shelf.rescue(guest, drive)
        again = self.require(self.find())
        still = [d.slot for d in again.drives() if d.volume in ours]
        if still:
            raise DriverError(
                f"Unable to remove {self.place.host}: {', '.join(still)} is still attached.",
                hint=f"lab plan host={self.place.host}",
            )
        return again

    def _unprotect(self, guest: Guest, doing: str) -> None:
        """Under its node's protection no disk leaves a machine; the plan allowed that."""
        if guest.live.get("protection") == "1":
            self.api.put(f"{guest.path}/config", doing=doing, protection=False)

    def _matters(self) -> bool:
        """Whether somebody may have put something on it: a half made machine never ran."""
        return self.place.read().whole

    def _carry_out(self, body: Body, doing: str, allowed: frozenset[Action]) -> None:
        provider = on(self.target)
        document = rendering.document(self.target, body, provider, self.place.workspace.lab)
        try:
            self.project.carry_out(document, doing, allowed, body.vmid)
        finally:
            self.api.touched()

    def _body(self, guest: Guest, *, template: int = 0, found: bool = False) -> Body:
        """Of a machine that is there, or (with ``template``) of one that is about to be cloned.

        ``guest`` is where it is, and has its root disk in the slot that the machine has it in.
        """
        target, place = self.target, self.place
        machine, kept = target.spec.machine, shelves.disks(self.find().shelf)
        disks = {
            kept[name].drive.slot: (name, kept[name].drive.volume)
            for name in machine.disks
            if name in kept
        }
        root, seed = guest.root(), ""
        slot = root.slot if root else "virtio0"
        if isinstance(machine, Container):
            lines = (f"{keys.make_login_key(place)} strata", *machine.login.key_lines)
            slot, seed = on(target).storage, "\n".join(lines)
        elif wanted := seeds.wanted(target, place):
            seed = wanted.volume
        mark = place.mark(MACHINE, template=template_name(target) or "").text
        threaded = root is not None and root.options.get("iothread") == "1"
        starts = not target.spec.isolated  # by us then, and not before its rules are there
        if found and not starts:
            starts = guests.running(self.api, guest).power != "stopped"
        words = (seed, template, found, threaded, starts)
        return Body(guest.vmid, guest.node, mark, slot, disks, *words)

    def _template(self) -> int:
        """The VMID of the template: as the layer below hands it up."""
        text = self.target.inputs.template or ""
        if text.isdigit():
            return int(text)
        name = self.target.inputs.template_name
        for row in guests.rows(self.api).values():
            if row.is_template and row.name == name:
                return row.vmid
        raise DriverError(
            f"Unable to make {self.place.host}: its template {name} is not on the node.",
            hint=f"lab converge l1 host={self.place.host}",
        )

    def _fresh_body(self, vmid: int, node: str) -> Body:
        """Of a machine that is about to be made: its root is where its template has it."""
        if isinstance(self.target.spec.machine, Container):
            return self._body(Guest(vmid, node, guests.LXC, "", {}))
        template = self._template()
        config = self.api.config(node, template) or {}
        live = {key: str(value) for key, value in config.items()}
        return self._body(Guest(vmid, node, guests.QEMU, "", live), template=template)

    def _node(self) -> str:
        """Where its disks are, else where the provider says."""
        shelf = self.find().shelf
        return shelf.node if shelf is not None else on(self.target).node

    def _claim(self, node: str) -> int:
        """Its VMID, noted before anything is made; the one it had, if nobody has it now."""
        record, api = self.place.read(), self.api
        if record.vmid and record.vmid not in guests.rows(api) and api.id_is_free(record.vmid):
            return record.vmid
        numbers = self.place.workspace.resource(Numbers)
        vmid = numbers.choose(api, on(self.target), self.place, MACHINE)
        self.place.note(vmid=vmid, node=node, whole=False)
        point("l2.guest.claimed")
        return vmid

    def _was_taken(self, error: DriverError, vmid: int) -> bool:
        """Whether somebody else took that VMID between our look and tofu's asking."""
        if _TAKEN not in f"{error} {' '.join(error.lines)}":
            return False
        self.api.touched()
        row = guests.rows(self.api).get(vmid)
        guest = guests.read(self.api, row) if row else None
        return guest is not None and not self.place.is_ours(guest.mark, MACHINE)

    def _given(self) -> dict[str, object]:
        place = self.place
        wanted = seeds.wanted(self.target, place)
        return {
            **seeds.told(self.target),
            "seed": wanted.volume if wanted else "",
            "host_key": keys.read_host_key(place) or "",
            "identity": keys.read_login_key(place) or "",
        }

    def _unlocked(self, guest: Guest) -> Guest | None:
        """The machine once nothing works on it any more; ``None``: it is gone."""
        ends = time.monotonic() + _UNLOCKED
        while guest.lock:
            if time.monotonic() > ends:
                raise DriverError(
                    f"Unable to change {self.place.host}: VM {guest.vmid} is locked "
                    f"({guest.lock}).",
                    hint=f"qm unlock {guest.vmid}   (on {guest.node}, where no task of it runs)",
                )
            self.target.report(f"waiting for the node ({guest.lock})")
            self.api.pause(_TICK)
            self.api.touched()
            row = guests.rows(self.api).get(guest.vmid)
            again = guests.read(self.api, row) if row else None
            if again is None:
                return None
            guest = again
        return guest

"""A boot disk into an archive of its node's: a task of vzdump, followed and found again.

What is on its way stands in the host's record before it is asked for. So a run that was killed is
gone on with: its task is waited for, its archive found by the note, the machine started if it is
off and ran before, and the disks that were kept out of it are put into backups again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lab.clients.proxmox import (
    Api,
    Refused,
    TaskFailed,
    TaskLost,
    Unclear,
    Volume,
    said,
    wait,
)
from lab.errors import DriverError, Interrupted, LabError, TransportError
from lab.faults import point
from lab.model.template import Archive, Archived
from layers.l2_instantiate.drivers.terraform import guests, leaving_out, power
from layers.l2_instantiate.drivers.terraform.guests import Guest
from layers.l2_instantiate.drivers.terraform.place import Pending, Place
from layers.l2_instantiate.drivers.terraform.vault import Vault
from layers.l2_instantiate.wanted import Machine as Target

_LIMIT = 12 * 3600.0
_RECENT = 3600.0
"""An archive that nobody made a capture of is one as long as it is no older."""
_STOPWAIT = 3  # minutes for a guest to shut down
_LOOKS, _PAUSE = 5, 1.0
_PERCENT = 100.0
_FROZE = "issuing guest-agent 'fs-freeze' command"
_INCLUDED = "include disk '"


@dataclass
class Archiver:
    """The hands of one capture of one machine."""

    api: Api
    target: Target
    place: Place
    guest: Guest
    vault: Vault

    @contextmanager
    def archive(self, id_: str, known: frozenset[str], *, live: bool) -> Iterator[Archived]:
        """See :class:`lab.abilities.Archiving`."""
        self.vault.check()
        pending = self._earlier(known, live=live)
        if pending is None:
            self._look_again()
            pending = self._begin(id_, live=live)
        archived = self._ended(pending)
        point("l2.archive.made")
        yield archived
        self.place.note(archive=None)

    # What an earlier call left.

    def _earlier(self, known: frozenset[str], *, live: bool) -> Pending | None:
        """One that can be gone on with; anything else that was begun is tidied away."""
        pending = self.place.read().archive
        if pending is None:
            self._put_back()
            return None
        if pending.id not in known:
            self._let_end(pending)
            fits = (pending.live, pending.storage) == (live, self.vault.storage)
            vault = replace(self.vault, node=pending.node, storage=pending.storage)
            there = vault.find(pending.id)
            if fits and there is not None and time.time() - pending.begun < _RECENT:
                return pending
            self._tidy(pending)
        self.place.note(archive=None)
        return None

    def _let_end(self, pending: Pending) -> None:
        """Its task may still run, also where its name was never heard."""
        upid = pending.upid or self._task_of(pending)
        if upid:
            with suppress(TaskFailed, TaskLost):
                self._wait(upid, f"end the capture of {self.place.host} that was begun")
        self.place.note(archive=pending.model_copy(update={"upid": upid or ""}))

    def _tidy(self, pending: Pending) -> None:
        """Nothing stays of one that failed, and the machine runs as before."""
        vault = replace(self.vault, node=pending.node, storage=pending.storage)
        if pending.ran:
            self._start()
        volume = vault.find(pending.id)
        if volume is not None:
            vault.remove(volume)
        self._put_back()

    # A new one.

    def _look_again(self) -> None:
        """What it is like now: an earlier call's traces are gone."""
        guest = leaving_out.again(self.api, self.guest)
        if guest is None or guest.lock:
            what = f"is locked ({guest.lock})" if guest else "is gone"
            unlock = f"qm unlock {self.guest.vmid}   (as root, on {self.guest.node}, where no task"
            raise DriverError(
                f"Unable to capture the boot disk of {self.place.host}: VM {self.guest.vmid}"
                f" {what}.",
                hint=f"{unlock} of it runs)" if guest else f"lab plan host={self.place.host}",
            )
        self.guest = guest

    def _begin(self, id_: str, *, live: bool) -> Pending:
        """Its task runs, and is known by name."""
        power_now = guests.running(self.api, self.guest).power
        self._leave_out()
        pending = Pending(
            id=id_,
            live=live,
            ran=power_now != "stopped",
            node=self.guest.node,
            storage=self.vault.storage,
            begun=time.time(),
        )
        self.place.note(archive=pending)
        point("l2.archive.claimed")
        try:
            upid = self._ask(pending)
        except LabError:
            self._undo(pending)
            raise
        pending = pending.model_copy(update={"upid": upid})
        self.place.note(archive=pending)
        point("l2.archive.begun")
        return pending

    def _ask(self, pending: Pending) -> str:
        """Begin it; where the answer is lost it is looked for before it is asked for again."""
        for last in (False, True):
            try:
                told = self.api.post(
                    f"nodes/{pending.node}/vzdump",
                    doing=f"capture the boot disk of {self.place.host}",
                    **self._words(pending),
                )
            except Unclear:
                self.api.pause(_PAUSE)
                found = self._task_of(pending)
                if found or last:
                    return found or self._lost()
                continue
            if not str(told).startswith("UPID:"):
                raise DriverError(
                    f"Unable to capture the boot disk of {self.place.host}: VM {self.guest.vmid} is"
                    f" no longer on {pending.node}.",
                    hint="the same command again",
                )
            return str(told)
        raise AssertionError  # the last round returns or raises

    def _lost(self) -> str:
        raise Unclear(
            f"Unable to capture the boot disk of {self.place.host}: the answer was lost twice, and"
            " no task is to be seen.",
            hint="the same command again; it looks first what was done",
        )

    def _words(self, pending: Pending) -> dict[str, Any]:
        return {
            "vmid": self.guest.vmid,
            "storage": pending.storage,
            "mode": "snapshot" if pending.live else "stop",
            "compress": "zstd",
            "notes-template": self.vault.note(pending.id).text,
            "protected": True,
            "remove": False,  # what its storage would drop meanwhile is not ours to drop
            "stopwait": _STOPWAIT,
        }

    def _task_of(self, pending: Pending) -> str:
        """The task that was begun since then, by us, for that machine; ``""``: none."""
        rows = self.api.get(
            f"nodes/{pending.node}/tasks",
            doing=f"look for the capture of {self.place.host}",
            source="all",
            typefilter="vzdump",
            vmid=self.guest.vmid,
            since=int(pending.begun + (self.api.skew or 0.0)) - 2,  # by the node's clock
        )
        ours = [row for row in rows if self._is_own(row)]
        return str(max(ours, key=lambda row: int(row["starttime"]))["upid"]) if ours else ""

    def _is_own(self, row: dict[str, Any]) -> bool:
        who, token = str(row.get("user", "")), row.get("tokenid")
        return (f"{who}!{token}" if token else who) == self.api.who

    # Its end.

    def _ended(self, pending: Pending) -> Archived:
        try:
            log = self._followed(pending)
            volume = self._arrived(pending, log)
            self._check_content(log)
        except Interrupted:
            self._undo(pending, calm=True)
            raise
        except TransportError:
            raise  # it may go on there: the next call looks
        except LabError:
            self._undo(pending)
            raise
        trouble = self._runs_again(pending)
        quiesced, how = _how(pending, log)
        archive = Archive(
            id=pending.id,
            at=pending.begun,
            place=self.api.access.url,
            node=pending.node,
            storage=pending.storage,
            volume=volume.name,
            size=volume.size,
        )
        return Archived(archive, quiesced, how, trouble)

    def _runs_again(self, pending: Pending) -> LabError | None:
        """What is not as before. The archive is good all the same: it is told when that is kept."""
        troubles: list[LabError] = []
        for step in (self._put_back, partial(self._run_as_before, pending)):
            try:
                step()
            except LabError as error:
                error.hint = error.hint or f"lab converge host={self.place.host}"
                troubles.append(error)
        return troubles[-1] if troubles else None

    def _run_as_before(self, pending: Pending) -> None:
        if pending.ran:
            self._start()
        if pending.ran and not pending.live:
            power.await_up(self.api, self.guest, self.target, self.place)

    def _followed(self, pending: Pending) -> tuple[str, ...]:
        """What its task said. One that the node has forgotten is known by its archive alone."""
        doing = f"capture the boot disk of {self.place.host}"
        if not pending.upid:
            return ()
        try:
            self._wait(pending.upid, doing)
        except TaskLost:
            return ()
        except TaskFailed as failed:
            raise self._failed(failed, said(self.api, pending.upid, doing=doing)) from failed
        return said(self.api, pending.upid, doing=doing)

    def _wait(self, upid: str, doing: str) -> None:
        root = self.guest.root()
        size = root.size if root else 0

        def telling(percent: float) -> None:
            done = int(size * min(percent, _PERCENT) / _PERCENT)
            self.target.report("archiving the boot disk", done, size)

        self.target.report("archiving the boot disk")
        wait(self.api, upid, doing=doing, deadline=_LIMIT, telling=telling)

    def _arrived(self, pending: Pending, log: Sequence[str]) -> Volume:
        """The archive, by its note; it is written where vzdump could not."""
        for _ in range(_LOOKS):
            volume = self.vault.find(pending.id) or self._without_note(pending, log)
            if volume is not None:
                break
            self.api.pause(_PAUSE)
        else:
            raise DriverError(
                f"Unable to capture the boot disk of {self.place.host}: its task ended well, and no"
                f" archive with its note lies on {pending.storage}.",
                hint="the same command again",
            )
        if volume.size <= 0 or volume.vmid != self.guest.vmid:
            raise DriverError(
                f"Unable to capture the boot disk of {self.place.host}: {volume.name} is empty, or"
                " another machine's.",
                hint="the same command again",
            )
        return volume

    def _without_note(self, pending: Pending, log: Sequence[str]) -> Volume | None:
        """The archive that its task named, if that carries no note at all."""
        named = [line.split("'")[1] for line in log if " archive '" in line]
        for volume in self.vault.listed():
            leaf = volume.name.partition(":backup/")[2]
            if leaf and any(name.endswith(leaf) for name in named) and not volume.notes:
                self.vault.write_note(volume.name, self.vault.note(pending.id))
                return self.vault.find(pending.id)
        return None

    def _check_content(self, log: Sequence[str]) -> None:
        """No disk but its own boot disk is in it, as its task tells."""
        others = leaving_out.others(self.guest)
        for line in log:
            words = line.split("'")
            if _INCLUDED in line and words[3:4] and words[3] in others:
                raise DriverError(
                    f"Unable to capture the boot disk of {self.place.host}: {words[3]} went into"
                    " the archive, too.",
                    hint="the same command again",
                )

    def _failed(self, failed: TaskFailed, log: Sequence[str]) -> DriverError:
        why = next(
            (line.partition(" failed - ")[2] for line in reversed(log) if "ERROR: Backup" in line),
            failed.text,
        ).rstrip(".")
        name, hint = self.place.host, failed.hint
        if "qm shutdown" in why:
            why = f"it did not shut down within {_STOPWAIT} minutes"
            hint = f"lab capture host={name} --disk --live   (or look at its console)"
        elif "protected backups" in why:
            set_ = f"pvesm set {self.vault.storage} --max-protected-backups -1"
            hint = f"{set_}   (as root, on the node), or lower lifecycle.keep"
        elif "Permission check failed" in why:
            hint = "lab doctor   (it names every privilege that is missing)"
        return DriverError(
            f"Unable to capture the boot disk of {name}: {why}.", hint=hint, lines=failed.lines
        )

    # The machine itself.

    def _undo(self, pending: Pending, *, calm: bool = False) -> None:
        """As far as it can be done now; what cannot is left to the next call, by the record.

        ``calm``: the user asked to stop, and these few calls are made all the same.
        """
        again = self
        if calm:
            api = Api(self.api.access, threading.Event())
            again = replace(self, api=api, vault=replace(self.vault, api=api))
        with suppress(LabError):
            again._tidy(pending)  # noqa: SLF001 (it is another of these)
            self.place.note(archive=None)
        if calm:
            again.api.close()

    def _start(self) -> None:
        if guests.running(self.api, self.guest).power != "stopped":
            return
        try:
            power.start(self.api, self.guest, self.target, self.place)
        except (Refused, TaskFailed) as failed:
            if "locked" in failed.text:
                vmid = self.guest.vmid
                unlock = f"qm unlock {vmid} && qm start {vmid}"
                failed.hint = f"{unlock}   (as root, on {self.guest.node}: its backup was cut off)"
            raise

    def _leave_out(self) -> None:
        """Only the boot disk goes into it; until then the others are in nobody's backups."""
        leaving_out.leave_out(self.api, self.place, self.guest)

    def _put_back(self) -> None:
        leaving_out.put_back(self.api, self.place)


def _how(pending: Pending, log: Sequence[str]) -> tuple[bool, str]:
    """Whether its filesystems were settled, and in what words."""
    if not pending.ran:
        return True, "off, as it was left"
    if not pending.live:
        return True, "shut down in order"
    froze = any(_FROZE in line for line in log) and not any("ERROR:" in line for line in log)
    if froze:
        return True, "running, its filesystems frozen by its guest agent"
    return False, "running: as after a power cut"

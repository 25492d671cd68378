"""The storage for backups: archives of a host's boot disk by their notes, retired and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.clients.proxmox import Api, Refused, TaskFailed, Volume, begun, wait
from lab.errors import DriverError
from lab.faults import point
from lab.model.template import Archive, ArchiveState
from lab.model.units import show_size
from layers.l2_instantiate.drivers.terraform import notes
from layers.l2_instantiate.drivers.terraform.notes import Note

_DEADLINE = 1800.0


@dataclass(frozen=True)
class Vault:
    """One host's archives on one storage, seen from one node."""

    api: Api
    lab: str
    host: str
    node: str
    storage: str

    def note(self, id_: str) -> Note:
        """What an archive of that capture carries."""
        return Note(self.lab, self.host, id_)

    def all(self) -> list[tuple[Note, Volume]]:
        """Every archive here that carries a note of this host's."""
        found = ((notes.read(volume.notes), volume) for volume in self.listed())
        whose = (self.lab, self.host)
        return [(n, v) for n, v in found if n is not None and (n.lab, n.host) == whose]

    def find(self, id_: str) -> Volume | None:
        """The archive of that capture."""
        return next((volume for note, volume in self.all() if note.id == id_), None)

    def listed(self) -> tuple[Volume, ...]:
        """Every backup that the token may see, looked up now."""
        self.api.touched()
        return self.api.volumes(self.node, self.storage, "backup")

    def write_note(self, volume: str, note: Note) -> None:
        """Say it on the archive."""
        doing = f"note whose {volume} is"
        self.api.put(self._path(volume), doing=doing, notes=note.text)

    def inspect(self, archive: Archive) -> ArchiveState:
        """What is there of it."""
        volume = next((v for v in self.listed() if v.name == archive.volume), None)
        if volume is None:
            return ArchiveState(f"{archive.volume} is not there any more")
        note = notes.read(volume.notes)
        if note is None or note.id != archive.id:
            return ArchiveState(f"{archive.volume} no longer carries the note of this capture")
        if volume.size != archive.size:
            now, was = show_size(volume.size), show_size(archive.size)
            return ArchiveState(f"{archive.volume} has {now} now, and had {was}")
        return _told(volume)

    def retire(self, archives: Sequence[Archive]) -> None:
        """Say on each that it may go, if it is there and carries its note."""
        there = {volume.name: note for note, volume in self.all()}
        for archive in archives:
            note = there.get(archive.volume)
            if note is not None and note.id == archive.id and not note.retired:
                self.write_note(archive.volume, note.retire())
                point("l2.archive.retired")

    def sweep(self, known: frozenset[str]) -> tuple[str, ...]:
        """Remove the retired ones that are not known."""
        gone = []
        for note, volume in self.all():
            if note.retired and note.id not in known:
                self.remove(volume)
                gone.append(volume.name)
        return tuple(gone)

    def remove(self, volume: Volume) -> None:
        """Take one of ours away; gone is fine."""
        doing = f"remove {volume.name}"
        try:
            if volume.protected:
                self.api.put(self._path(volume.name), doing=doing, protected=False)
            point("l2.archive.unprotected")
            upid = self.api.delete(self._path(volume.name), doing=doing)
            if upid:
                wait(self.api, str(upid), doing=doing, deadline=_DEADLINE)
        except (Refused, TaskFailed):
            if any(other.name == volume.name for other in self.listed()):
                raise

    def check(self) -> None:
        """Raises DriverError where it cannot take a backup."""
        store = next((s for s in self.api.storages(self.node) if s.name == self.storage), None)
        what = f"Unable to capture the boot disk of {self.host}: the storage {self.storage}"
        if store is None:
            raise DriverError(
                f"{what} is not there on {self.node}, or not to be seen.",
                hint="lab doctor   (it names what is missing, and what mends it)",
            )
        if not store.is_active:
            raise DriverError(f"{what} is not active.", hint=f"pvesm status   (on {self.node})")
        if "backup" not in store.content:
            content = ",".join(sorted({*store.content, "backup"}))
            raise DriverError(
                f"{what} takes no backups.",
                hint=f"pvesm set {self.storage} --content {content}   (as root, on the node)",
            )

    def _path(self, volume: str) -> str:
        return f"nodes/{self.node}/storage/{self.storage}/content/{volume}"


def _told(volume: Volume) -> ArchiveState:
    """What a backup server has read of it; on other storages nobody reads an archive."""
    if volume.verified == "ok":
        when = begun(volume.verified_by) or None
        return ArchiveState(read=when, told="read and found whole by the backup server")
    if volume.verified:
        return ArchiveState(f"the backup server read {volume.name} and found it {volume.verified}")
    return ArchiveState(told="it is there, as large as it was; nobody has read it since")

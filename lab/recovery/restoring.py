"""Restoring one set of data of one host: read whole and compared first, then beside, then swapped.

Until the capture was read to its end nothing is written anywhere. Until what lies beside was
compared on the host, and those who use it are well with it, the original is kept, and is put back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab import faults
from lab.clients.shell import Shell
from lab.errors import (
    ConfigError,
    DriverError,
    Interrupted,
    LabError,
    PlanError,
    Problem,
    TransportError,
)
from lab.model import standing
from lab.model.dataset import DataSet, inside
from lab.model.standing import Content, Marker, Standing
from lab.model.units import show_size
from lab.recovery import onhost, reading, swapping, tarwriting
from lab.recovery.hostile import hostile, root_of
from lab.recovery.manifest import DUMP, FILES, Entry, Manifest
from lab.recovery.repository import Capture, Repository
from lab.recovery.swapping import Looked, Place
from lab.recovery.users import Told, Users

_SPARE = 64 << 20
_LONG = 3600.0
_SLOWEST = 1 << 18  # bytes a second: a line that is slower than that is down


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be restored.

    Attributes:
        only: Nothing but this path of the set; ``""``: all of it.
        to: To another place, replacing nothing; ``""``: to where it belongs.
    """

    capture: Capture
    only: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """One path: where it goes, what is there now, and what will be."""

    place: Place
    looked: Looked
    entries: Mapping[str, Entry]

    @property
    def replaces(self) -> bool:
        """Whether something that is there would have to give way."""
        return self.looked.seen.content is Content.FULL and not self.looked.phase

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(e.size for e in self.entries.values())


class Restoring:
    """One restore of one set while it is carried out."""

    def __init__(
        self,
        repository: Repository,
        shell: Shell,
        one: DataSet,
        users: Users,
        told: Told,
        *,
        leave: str = "",
    ) -> None:
        """``leave`` is a pattern of paths that are right already, and stay as they are."""
        self._repository, self._shell, self._one = repository, shell, one
        self._users, self._told, self._leave = users, told, leave
        self._host = users.host.name
        self._doing = f"restore {one.name}"

    def spots(self, wanted: Wanted, manifest: Manifest) -> tuple[Spot, ...]:
        """Every path, as it is now. Changes nothing. Raises LabError."""
        return tuple(
            Spot(place, self._look(place), entries)
            for place, entries in self._places(wanted, manifest)
        )

    def checked(self, wanted: Wanted) -> Manifest:
        """Read all of the capture and compare it; judge every entry. Raises DriverError."""
        capture = wanted.capture

        def told(done: int, total: int) -> None:
            self._told(f"reading the capture of {self._one.name}", done, total)

        manifest = reading.verified(self._repository, capture, told)
        found = hostile(manifest.entries, manifest.paths)
        if found is not None:
            raise DriverError(
                f"Unable to {self._doing} on {self._host}: the capture"
                f" {capture.snapshot[:8]} is not safe to unpack: {found[0]}: {found[1]}.",
                hint=f"lab captures list host={self._host}   (was the host taken over?)",
            )
        faults.point("restore.after_check")
        return manifest

    def carry_out(self, wanted: Wanted, manifest: Manifest, spots: Sequence[Spot]) -> None:
        """Restore. Raises LabError; then the original is there, or the same again resumes."""
        snapshot = wanted.capture.snapshot
        spots = [self._settled(spot, snapshot) for spot in spots]
        for spot in spots:
            self._refuse(spot)
        for spot in spots:
            if spot.looked.verified != snapshot:
                self._beside(manifest, spot, snapshot)
        faults.point("restore.all_beside")
        if wanted.to:
            for spot in spots:
                self._run(swapping.put_there(spot.place), "put it there")
            return
        self._take_place(wanted, manifest, spots)

    # -- before anything is touched ----------------------------------------------------------------

    def _places(
        self, wanted: Wanted, manifest: Manifest
    ) -> Iterator[tuple[Place, Mapping[str, Entry]]]:
        roots = _roots(manifest, self._leave) if self._one.optional else manifest.paths
        if wanted.only:
            roots = (self._within(wanted.only, manifest),)
        undeclared = [r for r in roots if root_of(r, self._one.paths) is None]
        if undeclared and not wanted.to:
            raise PlanError(
                f"Unable to {self._doing} on {self._host}: {undeclared[0]} was captured, and is"
                " declared no more.",
                hint=f"lab restore host={self._host} data={self._one.name} to=/some/folder",
            )
        for root in roots:
            entries = {e.path: e for e in manifest.entries if inside(e.path, root)}
            if not entries:
                continue
            to = root
            if wanted.to:
                to = wanted.to if len(roots) == 1 else f"{wanted.to.rstrip('/')}{root}"
            mark = "" if wanted.to or self._one.optional else root_of(root, self._one.paths) or ""
            yield Place(to, root, mark), entries

    def _within(self, only: str, manifest: Manifest) -> str:
        path = "/" + only.strip("/")
        if not any(e.path == path for e in manifest.entries):
            text = f"{path} is not in the capture {manifest.data} of {manifest.host}"
            raise ConfigError([Problem("", text)])
        return path

    def _look(self, place: Place) -> Looked:
        reply = self._shell.run(swapping.look(place), doing=self._doing, deadline=120.0)
        try:
            return swapping.looked(place, reply.text)
        except (ValueError, KeyError) as error:
            raise DriverError(f"Unable to {self._doing} on {self._host}: {error}.") from error

    def _settled(self, spot: Spot, snapshot: str) -> Spot:
        """A restore of another capture, or one that was being undone, is undone first."""
        looked = spot.looked
        if looked.phase and (looked.verified != snapshot or looked.phase.startswith("back")):
            self._told("putting back what an earlier restore left", None, None)
            self._users.stop()
            self._run(swapping.put_back(spot.place), "put the original back")
            return Spot(spot.place, self._look(spot.place), spot.entries)
        return spot

    def _refuse(self, spot: Spot) -> None:
        """What cannot end well, before it is begun."""
        why = hint = ""
        looked, path = spot.looked, spot.place.path
        if looked.below:
            why = f"{looked.below[0]} is mounted below {path}"
            hint = "declare that folder as a set of data of its own, or restore with to="
        elif looked.verified:
            return  # its room is taken already
        elif looked.free < spot.size + spot.size // 20 + _SPARE:
            why = (
                f"{show_size(spot.size)} need room beside {path}: {show_size(looked.free)} is free"
            )
            hint = "make room there, or restore with to="
        elif -1 < looked.files < len(spot.entries) + 100:
            why = f"{len(spot.entries):,} files do not fit beside {path}: its inodes are used up"
        if why:
            raise PlanError(f"Unable to {self._doing} on {self._host}: {why}.", hint=hint)

    # -- beside ------------------------------------------------------------------------------------

    def _beside(self, manifest: Manifest, spot: Spot, snapshot: str) -> None:
        """Unpack it beside, and compare every file on the host."""
        place, stream = spot.place, manifest.stream(FILES)
        assert stream is not None  # noqa: S101 (there are entries)
        self._run(swapping.prepare(place), "make room beside")
        faults.point("restore.prepared")
        size = tarwriting.size_of(spot.entries.values(), place.root)

        def told(done: int) -> None:
            faults.point("restore.unpacking")
            self._told(f"restoring {place.path}", done, stream.size)

        pieces = reading.checked(self._repository, manifest, stream)
        reply = self._shell.run(
            swapping.unpack(place),
            doing=self._doing,
            stdin=tarwriting.Only(spot.entries, place.root).of(pieces, told),
            stdin_size=size,
            deadline=_LONG + stream.size / _SLOWEST,
            check=False,
        )
        if reply.status != 0:
            last = reply.lines[-1] if reply.lines else f"tar ended with {reply.status}"
            raise DriverError(
                f"Unable to {self._doing} on {self._host}: {last.rstrip('.')}.",
                status=reply.status,
                lines=reply.lines,
                hint="nothing was replaced; the same command again",
            )
        faults.point("restore.unpacked")
        self._compare(spot)
        self._run(swapping.keep_verified(place, snapshot), "keep it", _LONG)
        faults.point("restore.verified")

    def _compare(self, spot: Spot) -> None:
        self._told(f"comparing {spot.place.path}", None, None)
        told = bytearray()
        self._shell.run(
            swapping.listing(spot.place), doing=self._doing, deadline=_LONG, sink=told.extend
        )
        why = swapping.difference(bytes(told), spot.entries, spot.place.root)
        if why:
            raise DriverError(
                f"Unable to {self._doing} on {self._host}: what arrived is not what was captured:"
                f" {why}.",
                hint="nothing was replaced; is the disk of the host well?",
            )

    # -- in its place ------------------------------------------------------------------------------

    def _take_place(self, wanted: Wanted, manifest: Manifest, spots: Sequence[Spot]) -> None:
        snapshot = wanted.capture.snapshot
        self._users.stop()
        faults.point("restore.stopped")
        try:
            for spot in spots:
                self._run(swapping.swap(spot.place, self._mark(spot.place.mark, snapshot)), "swap")
                faults.point("restore.swapped")
            if not wanted.only:
                self._feed(manifest, snapshot)
            self._users.start()
        except (Interrupted, TransportError):
            raise  # nothing starts on it; the same again goes on from here
        except LabError as error:
            self._undo(spots, error)
            raise
        faults.point("restore.started")
        for spot in spots:
            mark = self._mark(spot.place.mark, snapshot, whole=True)
            self._told("removing the original", None, None)
            self._run(swapping.finish(spot.place, mark), "finish", _LONG)
            faults.point("restore.finished")
        if not self._one.paths:
            self._mark_dump(snapshot, whole=True)

    def _feed(self, manifest: Manifest, snapshot: str) -> None:
        """The dump, through the command that reads it; whoever reads it runs already."""
        stream = manifest.stream(DUMP)
        if stream is None:
            return
        if not self._one.restore:
            raise PlanError(
                f"Unable to {self._doing} on {self._host}: it is a dump, and no restore: command"
                " is declared for it.",
                hint=f"in its persona: capture: {{restore: ...}} (then it was {manifest.restore})",
            )
        if not self._one.paths:
            self._mark_dump(snapshot)
        self._users.start()
        done = 0
        whole = hashlib.sha256()

        def pieces() -> Iterator[bytes]:
            nonlocal done
            for piece in reading.checked(self._repository, manifest, stream):
                whole.update(piece)
                done += len(piece)
                self._told(f"restoring {self._one.name} (dump)", done, stream.size)
                faults.point("restore.feeding")
                yield piece

        self._shell.run(
            onhost.restore(self._one),
            doing=self._doing,
            stdin=pieces(),
            stdin_size=stream.size,
            deadline=_LONG + stream.size / _SLOWEST,
        )
        faults.point("restore.fed")

    def _undo(self, spots: Sequence[Spot], error: LabError) -> None:
        """The original in its place again; where that fails, nothing starts on what is there."""
        try:
            self._told("putting the original back", None, None)
            self._users.stop()
            for spot in spots:
                self._run(swapping.put_back(spot.place), "put the original back")
            if any(spot.replaces for spot in spots):
                self._users.start()
        except LabError as second:
            error.hint = f"{second.message} Nothing starts on it; the same command again."
        else:
            error.hint = f"the original is in its place again. {error.hint}".strip()

    def _mark(self, path: str, snapshot: str, *, whole: bool = False) -> Marker | None:
        if not path:
            return None
        state = "complete" if whole else "restoring"
        return Marker(path, self._one.name, Standing.RESTORED, time.time(), state, snapshot)

    def _mark_dump(self, snapshot: str, *, whole: bool = False) -> None:
        """A set without paths has its mark where its commands run."""
        marks = [self._mark(p, snapshot, whole=whole) for p in standing.path_of(self._one)]
        script = standing.FUNCTIONS + standing.write(m for m in marks if m is not None)
        self._run(script, "mark it")

    def _run(self, script: str, what: str, deadline: float = 300.0) -> None:
        self._told(what, None, None)
        self._shell.run(script, doing=f"{self._doing}: {what}", deadline=deadline)


def _roots(manifest: Manifest, leave: str) -> tuple[str, ...]:
    """The outermost entries, for a set whose paths are patterns; those like ``leave`` stay."""
    paths = {e.path for e in manifest.entries}
    every = sorted(p for p in paths if p.rpartition("/")[0] not in paths)
    return tuple(p for p in every if not fnmatchcase(p, leave))


__all__ = ["Restoring", "Spot", "Wanted"]

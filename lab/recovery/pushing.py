"""The push route: restic on the host brings the stream to a door of ours, only what is new of it.

What is stored is the same as by the other route: one archive, one manifest, which is taken down
here by reading back what came; nothing that a host says of its own data is believed.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab import faults
from lab.clients import restic, restic_door, restic_reach
from lab.clients.shell import Endpoint, Shell
from lab.clients.shell_tunnel import Way, tunnel
from lab.errors import DriverError, LabError, TransportError
from lab.masking import hide
from lab.model.dataset import DataSet
from lab.recovery import onhost
from lab.recovery.manifest import FILES, Manifest, Stream, Taking
from lab.recovery.repository import Repository
from lab.recovery.tarstream import BrokenStream

Told = Callable[[str, int | None, int | None], None]

LARGE = 4 << 30
"""``auto`` pushes sets of at least so many bytes."""
DOORS = "doors"
_SILENT = 3600.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came, and what the host said of it."""

    stream: Stream
    taking: Taking
    stderr: list[str]


def by_push(repository: Repository, one: DataSet, look: onhost.Looked, endpoint: Endpoint) -> bool:
    """Whether this set comes by that route. Raises DriverError where it must, and cannot."""
    route = one.route or repository.route
    if route == "pull" or not one.paths:
        return False
    if route == "auto" and look.size < LARGE:
        return False
    why = _hindrance(repository, look, endpoint) or _closed(repository)
    if route == "auto":
        return not why
    if why:
        raise DriverError(
            f"Unable to push {one.name} of {endpoint.name}: {why}.",
            hint="or route: pull, which needs nothing there but tar",
        )
    return True


def _hindrance(repository: Repository, look: onhost.Looked, endpoint: Endpoint) -> str:
    oldest = ".".join(map(str, restic.OLDEST))
    why = restic_reach.hindrance(repository.restic.access)
    if why:
        return why
    if endpoint.kind == "container":
        return "it is not reached by ssh, so that there is no way back"
    if not look.restic:
        return f"it has no restic; {oldest} or newer is needed (system: {{packages: [restic]}})"
    if look.restic < restic.OLDEST:
        there = ".".join(map(str, look.restic))
        return f"its restic is {there}; {oldest} or newer is needed"
    return ""


def _closed(repository: Repository) -> str:
    """Why the store, once it is asked, is none for a door; ``""``: it is one."""
    try:
        with restic_reach.reached(repository.restic.access) as store:
            if store.removes:
                return ""
    except DriverError as error:
        return error.message.rstrip(".")
    return f"{repository.shown} lets nothing be removed, which the key of a push must be"


def push(
    repository: Repository,
    shell: Shell,
    manifest: Manifest,
    script: str,
    told: Told,
    expected: int | None,
) -> Pushed:
    """Let the host bring what ``script`` writes; then read it back. Raises LabError."""
    with _opened(repository, shell, manifest.host) as (door, way, password):
        faults.point("push.opened")
        seen = _Said(way, door, told, "pushing", expected)
        environment = {
            "RESTIC_PASSWORD": password,
            "RESTIC_REST_USERNAME": restic_door.USER,
            "RESTIC_REST_PASSWORD": door.credential,
            "RESTIC_PROGRESS_FPS": "1",
        }
        words = restic.called(repository.label(manifest, FILES))
        reply = shell.run(
            onhost.pushed(script, way.path, environment, words),
            doing=f"push {manifest.data}", deadline=_SILENT, sink=seen.take, check=False,
        )  # fmt: skip
        stderr = reply.stderr.decode(errors="surrogateescape").splitlines()
        if reply.status != 0 or not seen.snapshot:
            raise _refused(manifest, stderr)
        faults.point("push.pushed")
        door.admit(seen.snapshot)
        faults.point("push.admitted")
        label = repository.label(manifest, FILES)
        try:
            repository.restic.require(seen.snapshot, label)
        except DriverError:
            door.retract(seen.snapshot)
            raise
    taking = _read_back(repository, manifest, seen.snapshot, told, seen.size)
    faults.point("push.read")
    return Pushed(Stream(FILES, seen.snapshot, taking.length), taking, stderr)


@contextmanager
def _opened(
    repository: Repository, shell: Shell, host: str
) -> Iterator[tuple[restic_door.Door, Way, str]]:
    """A door with a key of its own, and a way to it; both are gone afterwards."""
    workspace = repository.workspace
    with restic_reach.reached(repository.restic.access) as store:
        doors = workspace.state / DOORS
        restic_door.sweep(doors, store)
        notes = restic_door.Notes(doors)
        password = secrets.token_urlsafe(24)
        hide(password, "of a key for one push")
        key = repository.restic.add_key("strata-push", host, password)
        notes.add(store, "keys", key)
        door = restic_door.Door(store, key, notes)
        hide(door.credential, "of a door for one push")
        socket = workspace.runtime / f"door-{secrets.token_hex(6)}"
        try:
            with (
                restic_door.opened(door, socket),
                tunnel(shell, socket, workspace.runtime, workspace.cancelled) as way,
            ):
                yield door, way, password
        except BaseException:
            with contextlib.suppress(LabError):  # what stays is noted; the next push takes it away
                door.shut()
                notes.end()
            raise
        door.shut()
        notes.end()


@dataclass
class _Said:
    """What restic on the host tells while it works."""

    way: Way
    door: restic_door.Door
    told: Told
    doing: str
    expected: int | None
    snapshot: str = ""
    size: int = 0
    _rest: bytes = b""

    def take(self, piece: bytes) -> None:
        """More of it. Raises LabError where the way back is cut, or the store says no."""
        self.way.check()
        self.door.check()
        faults.point("push.pushing")
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the middle of a line
            if not isinstance(entry, dict):
                continue
            if entry.get("message_type") == "summary":
                self.snapshot = str(entry.get("snapshot_id", ""))
                self.size = int(entry.get("total_bytes_processed", 0))
            done = entry.get("bytes_done")
            if isinstance(done, int):
                total = max(self.expected, done) if self.expected else None
                self.told(self.doing, done, total)


def _read_back(
    repository: Repository, manifest: Manifest, snapshot: str, told: Told, size: int
) -> Taking:
    """Take down what was stored, from the store: it is read whole, so it is there whole."""
    taking, doing = Taking(), "reading back"
    try:
        with repository.restic.reading(snapshot, FILES) as pieces:
            for piece in pieces:
                taking.feed(piece)
                told(doing, taking.length, max(size, taking.length))
        taking.close()
    except BrokenStream as broken:
        raise DriverError(
            f"Unable to capture {manifest.data} of {manifest.host}: what came is damaged:"
            f" {broken}.",
            hint="the same command again",
        ) from broken
    return taking


def _refused(manifest: Manifest, stderr: list[str]) -> DriverError:
    went = onhost.went([line for line in stderr if not line.startswith("{")])
    said = [m for line in stderr if line.startswith("{") and (m := restic.said_in(line))]
    last = (*said, *went.said)[-1:] or ("its restic stored nothing",)
    text = last[0].strip().rstrip(".")
    text = f"the command before the reading failed: {text}" if went.before else text
    kind = TransportError if any("connection refused" in s for s in said) else DriverError
    return kind(
        f"Unable to push {manifest.data} of {manifest.host}: {text}.",
        hint=f"lab ssh {manifest.host}   (nothing was captured)",
        lines=(*said, *went.said)[-20:],
    )


__all__ = ["DOORS", "LARGE", "Pushed", "by_push", "push"]

"""Taking one capture of one set of data: look, dump, read, judge, write the manifest.

Until the manifest is written nothing counts; it is written last, and at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lab import faults
from lab.clients import restic
from lab.clients.restic import Writing
from lab.clients.shell import Endpoint, Shell
from lab.errors import DriverError, PlanError, TransportError
from lab.lazy import Lazy
from lab.masking import mask
from lab.model.dataset import DataSet
from lab.model.units import show_size
from lab.recovery import onhost
from lab.recovery.dumps import Dump
from lab.recovery.manifest import DUMP, FILES, Manifest, Stream, Taking, merkle_root
from lab.recovery.repository import Capture, Repository, new_id
from lab.recovery.tarstream import BrokenStream

if TYPE_CHECKING:
    from lab.recovery import pushing
else:
    pushing = Lazy("lab.recovery.pushing")  # serves HTTP: most captures need none of it

Told = Callable[[str, int | None, int | None], None]
"""What it does, and bytes done of bytes there are, where that is known."""

SMALL = 10
"""A capture with less than this percentage of the last good one's bytes or files is flagged."""
_SILENT = 3600.0  # a dump may think for long before it writes
_TORN_KEPT = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """The host that is captured, and how it is reached.

    Attributes:
        image: The template that it was made from; ``""`` where nobody knows.
        commit: Of the lab's files.
    """

    host: str
    persona: str
    endpoint: Endpoint
    image: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of it.

    Attributes:
        flagged: Why it is no success, though it is kept; ``""``: it is good.
        notes: What a person should know of it.
    """

    capture: Capture
    manifest: Manifest
    flagged: str = ""
    notes: tuple[str, ...] = ()


def take(
    repository: Repository,
    shell: Shell,
    subject: Subject,
    one: DataSet,
    *,
    before: Callable[[], Sequence[Capture]],
    expected: int | None = None,
    accept_small: bool = False,
    told: Told = lambda *_: None,
) -> Taken:
    """Capture one set of data of one host.

    ``before`` gives those that there are, newest first; it is asked once all is read. ``expected``
    is about how many bytes come. Raises LabError; then nothing was captured.
    """
    work = _Work(repository, shell, subject, one, told)
    faults.point("capture.before_look")
    manifest = Manifest(
        lab=repository.lab,
        host=subject.host,
        persona=subject.persona,
        data=one.name,
        id=new_id(),
        at=time.time(),
        image=subject.image,
        commit=subject.commit,
        paths=one.paths,
        exclude=one.exclude,
        workload=one.workload,
        restore=one.restore,
        folder=one.folder,
    )
    with work.begun(manifest):
        begun, manifest = time.monotonic(), work.read(manifest, expected)
    dumped, every = manifest.stream(DUMP), before()
    last = next((c for c in every if not c.flagged), None)
    manifest = replace(
        manifest,
        number=max((c.number for c in every), default=0) + 1,
        seconds=round(time.monotonic() - begun, 3),
        root=merkle_root(manifest.entries, dumped.sha256 if dumped else ""),
    )
    flagged = work.distrust or ("" if accept_small else judged(manifest, last))
    manifest = replace(manifest, flagged=flagged)
    faults.point("capture.before_manifest")
    capture = repository.conclude(manifest)
    faults.point("capture.after_manifest")
    return Taken(capture, manifest, flagged, tuple(work.notes))


def judged(manifest: Manifest, last: Capture | None) -> str:
    """Why a capture is too little to be believed; ``""``: it is not."""
    if last is None:
        return "" if manifest.size else "it is empty, and none before it says that it may be"
    if last.size and not manifest.size:
        return f"it is empty, the one before held {show_size(last.size)}"
    if manifest.size * 100 < last.size * SMALL:
        return f"it holds {show_size(manifest.size)}, the one before {show_size(last.size)}"
    if manifest.files * 100 < last.files * SMALL:
        return f"it holds {manifest.files} files, the one before {last.files}"
    return ""


class _Work:
    """One capture while it is taken."""

    _early: Writing | None = None

    def __init__(
        self, repository: Repository, shell: Shell, subject: Subject, one: DataSet, told: Told
    ) -> None:
        self._repository, self._shell, self._subject = repository, shell, subject
        self._one, self._told = one, told
        self._doing = f"capture {one.name}"
        self.notes: list[str] = []
        self.distrust = ""

    @property
    def _pulled(self) -> bool:
        """Whether it comes by the pull route, whatever the host has."""
        return (self._one.route or self._repository.route) == "pull"

    @contextmanager
    def begun(self, manifest: Manifest) -> Iterator[None]:
        """Let restic open the repository, which takes its time, while the host is looked at."""
        with contextlib.ExitStack() as held:
            if self._pulled and self._one.paths and not self._one.dump:
                label = self._repository.label(manifest, FILES)
                self._early = held.enter_context(self._writing(label))
            yield

    def _writing(self, label: restic.Label) -> AbstractContextManager[Writing]:
        def notice(why: str) -> None:
            self._told(f"waiting for the store: {why}" if why else "storing", None, None)

        return self._repository.restic.writing(label, notice)

    def read(self, manifest: Manifest, expected: int | None) -> Manifest:
        """Look, dump, read: all but what is judged of it. Raises LabError."""
        look, one = self.look(), self._one
        tools = {"restic": ".".join(map(str, restic.version() or ())), "tar": look.tar}
        manifest = replace(manifest, tools=tools)
        if one.dump:
            manifest = self.dump(manifest)
            faults.point("capture.after_dump")
        if one.paths:
            by_push = not self._pulled and pushing.by_push(
                self._repository, one, look, self._subject.endpoint
            )
            manifest = (self.pushed if by_push else self.files)(manifest, expected or look.size)
            faults.point("capture.after_files")
        return manifest

    def look(self) -> onhost.Looked:
        """Whether there is something to capture. Raises LabError."""
        self._told("looking", None, None)
        reply = self._shell.run(onhost.look(self._one), doing=self._doing, deadline=600.0)
        look = onhost.looked(reply.text)
        host = self._subject.host
        if self._one.paths and not look.tar:
            raise DriverError(
                f"Unable to {self._doing} on {host}: it has no GNU tar.",
                hint="system: {packages: [tar]} in its persona",
            )
        if look.restoring:
            raise PlanError(
                f"Unable to {self._doing} on {host}: a restore of {look.restoring[0]} did not"
                " finish, so nobody knows what is there.",
                hint=f"lab restore host={host} data={self._one.name}",
            )
        if look.missing:
            raise DriverError(
                f"Unable to {self._doing} on {host}: {', '.join(look.missing)} does not exist.",
                hint=f"lab converge host={host}; or take it out of the persona's data",
            )
        return look

    def dump(self, manifest: Manifest) -> Manifest:
        """Run the dump; what it writes is one stream."""
        whole, seen = hashlib.sha256(), Dump()

        def take(piece: bytes) -> None:
            whole.update(piece)
            seen.feed(piece)

        stream, _ = self._stored(manifest, DUMP, onhost.dump(self._one), take, None, check=True)
        self.distrust = f"its dump is not whole: {seen.trouble}" if seen.trouble else ""
        stream = replace(stream, sha256=whole.hexdigest())
        return replace(
            manifest, streams=(*manifest.streams, stream), size=manifest.size + stream.size
        )

    def files(self, manifest: Manifest, expected: int) -> Manifest:
        """Read the paths, held still where the set says how."""
        taking = Taking()
        began: float | None = None

        def take(piece: bytes) -> None:
            nonlocal began
            began = began or time.time()
            taking.feed(piece)
            faults.point("capture.reading")

        try:
            script = onhost.files(self._one)
            stream, stderr = self._stored(manifest, FILES, script, take, expected)
            taking.close()
        except BrokenStream as broken:
            raise DriverError(
                f"Unable to {self._doing} on {self._subject.host}: what tar wrote is damaged:"
                f" {broken}.",
                hint="the same command again",
            ) from broken
        return self._read(manifest, stream, taking, stderr, began)

    def pushed(self, manifest: Manifest, expected: int) -> Manifest:
        """Let the host bring the paths."""
        began = time.time()
        script = onhost.files(self._one)
        came = pushing.push(self._repository, self._shell, manifest, script, self._told, expected)
        return self._read(manifest, came.stream, came.taking, came.stderr, began)

    def _read(
        self,
        manifest: Manifest,
        stream: Stream,
        taking: Taking,
        stderr: list[str],
        began: float | None,
    ) -> Manifest:
        """What is known of the paths now."""
        went = onhost.went(stderr)
        self._judge(went)
        held = self._one.quiesced and not self._one.dump
        return replace(
            manifest,
            at=began if held and began else manifest.at,  # else all that was before is in it
            quiesced=self._one.quiesced and not self.distrust,
            files=manifest.files + taking.files,
            size=manifest.size + taking.size,
            torn=went.torn[:_TORN_KEPT],
            streams=(*manifest.streams, stream),
            entries=tuple(taking.entries),
        )

    def _stored(
        self,
        manifest: Manifest,
        part: str,
        script: str,
        take: Callable[[bytes], None],
        expected: int | None,
        *,
        check: bool = False,
    ) -> tuple[Stream, list[str]]:
        """Run a script on the host, and store what it writes while it comes."""
        doing = "dumping" if part == DUMP else "reading"
        done = 0
        with contextlib.ExitStack() as held:
            label = self._repository.label(manifest, part)
            out = self._early or held.enter_context(self._writing(label))

            def sink(piece: bytes) -> None:
                nonlocal done
                out.write(piece)
                take(piece)
                done += len(piece)
                self._told(doing, done, max(expected, done) if expected else None)

            self._told(doing, 0, expected)
            reply = self._shell.run(
                script, doing=self._doing, deadline=_SILENT, sink=sink, check=check
            )
            stderr = reply.stderr.decode(errors="surrogateescape").splitlines()
            if reply.status != 0:
                raise self._failed(onhost.went(stderr), reply.status)
            self._told("storing", None, None)
            stored = out.finish()
        return Stream(part, stored.snapshot, stored.size), stderr

    def _failed(self, went: onhost.Went, status: int) -> DriverError:
        lines = tuple(mask(line) for line in went.said[-20:])
        last = lines[-1].strip().rstrip(".") if lines else f"it ended with status {status}"
        cause = f"the command before the reading failed: {last}" if went.before else last
        kind = TransportError if went.late else DriverError
        return kind(
            f"Unable to {self._doing} on {self._subject.host}: {cause}.",
            hint=f"lab ssh {self._subject.host}   (nothing was captured)",
            status=status,
            lines=lines,
        )

    def _judge(self, went: onhost.Went) -> None:
        """What is to be said of a reading that came to its end."""
        if self._one.quiesced and went.torn:
            self.distrust = (
                f"{went.torn[0]} changed while it was read, though {self._one.name} was held still"
            )
        elif went.torn:
            many = f" and {len(went.torn) - 1} more" if len(went.torn) > 1 else ""
            self.notes.append(
                f"{went.torn[0]}{many} changed while it was read: declare a dump or quiesce"
            )
        if went.late:
            self.distrust = "the host went on before it was read: nothing had moved for too long"
        elif went.after:
            last = f": {mask(went.said[-1])}" if went.said else ""
            self.notes.append(f"the command after the reading failed ({went.after}){last}")


__all__ = ["SMALL", "Subject", "Taken", "judged", "take"]

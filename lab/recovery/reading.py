"""Reading a capture back, and believing none of it: every file is compared with the manifest.

The first thing that is not as it was captured ends the reading, and is named. Nothing is written
anywhere, so whoever restores reads the whole capture through here before touching its target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from lab.errors import DriverError
from lab.recovery.manifest import FILES, Entry, Manifest, Stream, Taking, merkle_root
from lab.recovery.repository import Capture, Repository
from lab.recovery.tarstream import BrokenStream, Member

Told = Callable[[int, int], None]


def verified(
    repository: Repository, capture: Capture, told: Told = lambda _done, _total: None
) -> Manifest:
    """Read all of it and compare; its manifest, which then is known to be true.

    Raises DriverError naming the file that is damaged, missing or was not captured.
    """
    manifest = repository.manifest(capture)
    total = sum(s.size for s in manifest.streams)
    done = 0
    for stream in manifest.streams:
        for piece in checked(repository, manifest, stream):
            done += len(piece)
            told(done, total)
    if merkle_root(manifest.entries, manifest.whole) != manifest.root:
        raise _refused(manifest, "its manifest", "the root is not that of its files")
    return manifest


def checked(repository: Repository, manifest: Manifest, stream: Stream) -> Iterator[bytes]:
    """The stream's pieces; at its end all of it was compared with the manifest.

    Raises DriverError, at whatever piece shows that it is not what was captured.
    """
    comparing = _Comparing(manifest) if stream.name == FILES else None
    whole, size = hashlib.sha256(), 0
    try:
        with repository.content(stream) as pieces:
            for piece in pieces:
                size += len(piece)
                if comparing is None:
                    whole.update(piece)
                else:
                    comparing.feed(piece)
                yield piece
    except BrokenStream as broken:
        raise _refused(
            manifest, comparing.place if comparing else stream.name, str(broken)
        ) from broken
    except DriverError as error:
        place = comparing.place if comparing else stream.name
        raise _refused(manifest, place, error.message.rstrip("."), error) from error
    if comparing is not None:
        try:
            comparing.close()
        except BrokenStream as broken:
            raise _refused(manifest, comparing.place, str(broken)) from broken
    elif whole.hexdigest() != stream.sha256:
        raise _refused(manifest, stream.name, "its content is not what was captured")
    if size != stream.size:
        why = f"{size} bytes came, {stream.size} were captured"
        raise _refused(manifest, stream.name, why)


class _Comparing(Taking):
    """Takes the stream down again, and compares each thing as it ends."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self._expected = {entry.path: entry for entry in manifest.entries}
        self.place = FILES

    def begin(self, member: Member) -> None:
        """A member begins; one of a path that was not captured, or comes twice, is refused."""
        super().begin(member)
        path = f"/{member.path.lstrip('/')}"
        self.place = path
        if path not in self._expected:
            raise BrokenStream("it was not captured, or comes twice")

    def end(self) -> None:
        """It was whole; now it must be what the manifest says."""
        super().end()
        entry = self.entries.pop()  # each is compared once: nothing needs to be kept
        expected = self._expected.pop(entry.path)
        if entry != expected:
            raise BrokenStream(f"{_difference(entry, expected)} is not what was captured")

    def close(self) -> None:
        """The stream is over, and nothing may be missing."""
        super().close()
        for path in sorted(self._expected)[:1]:
            self.place = path
            raise BrokenStream("it is missing")


def _difference(entry: Entry, expected: Entry) -> str:
    for name in ("kind", "size", "sha256", "link", "mode", "uid", "gid", "mtime", "extra"):
        if getattr(entry, name) != getattr(expected, name):
            return {"sha256": "its content", "uid": "its owner", "gid": "its group"}.get(
                name, f"its {name}"
            )
    return "it"


def _refused(
    manifest: Manifest, place: str, why: str, error: DriverError | None = None
) -> DriverError:
    return DriverError(
        f"Unable to rely on the capture of {manifest.data} of {manifest.host}: {place}: {why}.",
        hint=f"lab captures list host={manifest.host}   (an older one may be whole)",
        lines=error.lines if error is not None else (),
    )

"""F32, F33, F34: cut, flipped, wrongly keyed. Each is refused by name, before anything is restored.

What restic itself seals is damaged in its files; what it hands back is damaged in memory, as if its
seal had held nothing: a second line of its own.
"""

import io
import os
import random
import shutil
import subprocess
import tarfile
from contextlib import contextmanager, suppress

import pytest

from lab.clients.restic import Access, Restic, WrongPassword
from lab.errors import DriverError
from lab.model.outcome import ExitCode
from lab.recovery import reading
from lab.recovery.manifest import FILES, Manifest, Stream, Taking, merkle_root
from lab.recovery.repository import Capture


class Handed:
    """A repository that hands out what it is given."""

    def __init__(self, lines, stream):
        self.lines, self.stream = lines, stream

    def manifest(self, capture):
        try:
            found = Manifest.read(self.lines)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DriverError(f"manifest: {error}") from error
        said = (found.lab, found.host, found.data, found.id, found.root)
        if said != ("l", capture.host, capture.data, capture.id, capture.root):
            raise DriverError("it is the manifest of another one")
        return found

    @contextmanager
    def content(self, _):
        yield (self.stream[at : at + 3000] for at in range(0, len(self.stream), 3000))


@pytest.fixture(scope="module")
def whole():
    """A manifest, its capture, and the stream that it tells of."""
    out, dice = io.BytesIO(), random.Random(32)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for n in range(12):
            head = tarfile.TarInfo(f"srv/d/{'long/' * n * 3}file-{n}")
            head.size, head.mtime, head.mode = dice.randrange(1, 1500), 1.5e9 + n / 7, 0o640
            tar.addfile(head, io.BytesIO(dice.randbytes(head.size)))
    stream = out.getvalue()
    taking = Taking()
    taking.feed(stream)
    taking.close()
    manifest = Manifest(
        "l", "h", "p", "d", "i", 1.0, paths=("/srv/d",), files=taking.files, size=taking.size,
        root=merkle_root(taking.entries), entries=tuple(taking.entries),
        streams=(Stream(FILES, "s", len(stream)),),
    )  # fmt: skip
    capture = Capture("h", "d", "i", 1.0, 1, "m", ("s",), 12, 1, manifest.root, flagged=False)
    return manifest, capture, stream


def refused(capture, lines, stream):
    """Whether it is; a manifest that comes through is exactly the one that was written."""
    with suppress(DriverError):
        return reading.verified(Handed(lines, stream), capture)
    return None


def test_two_hundred_cut_streams_and_every_cut_manifest_are_refused(whole):
    manifest, capture, stream = whole
    dice, lines = random.Random(1), list(manifest.written())
    used = len(stream.rstrip(b"\0")) + 1024  # what follows tar's end mark is padding
    cuts = [dice.randrange(used) for _ in range(200)]
    assert [c for c in cuts if refused(capture, lines, stream[:c])] == []
    every = [n for n in range(len(lines)) if refused(capture, lines[:n], stream)]
    assert every == []
    inside = [n for n in range(len(lines)) if refused(capture, [*lines[:n], lines[n][:-3]], stream)]
    assert inside == []


def test_a_thousand_flipped_bits_are_refused_or_change_nothing(whole):
    manifest, capture, stream = whole
    dice, lines = random.Random(2), list(manifest.written())
    tried = survived = harmless = 0
    for _ in range(700):
        at, bit = dice.randrange(len(stream)), 1 << dice.randrange(8)
        spoiled = bytearray(stream)
        spoiled[at] ^= bit
        found = refused(capture, lines, bytes(spoiled))
        tried, survived = tried + 1, survived + (found is None)
        if found is not None:  # padding, or a field of tar that nobody reads
            taking = Taking()
            taking.feed(bytes(spoiled))
            harmless += tuple(taking.entries) == manifest.entries
    text = b"".join(lines)
    for _ in range(300):
        at, bit = dice.randrange(len(text)), 1 << dice.randrange(8)
        spoiled = bytearray(text)
        spoiled[at] ^= bit
        found = refused(capture, bytes(spoiled).split(b"\n"), stream)
        tried, survived = tried + 1, survived + (found is None)
        if found is not None:  # of what it tells people, not of what is restored
            harmless += (found.entries, found.streams, found.root) == (
                manifest.entries, manifest.streams, manifest.root
            )  # fmt: skip
    assert survived + harmless == tried == 1000
    assert survived > 600


def files_of(store):
    """Every file of a repository, by its kind."""
    return [p for p in sorted(store.rglob("*")) if p.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "flipped", "gone"])
def test_damage_in_any_file_of_the_repository_is_refused_and_named(here, how):
    made = here()
    assert made.capture().exit_code is ExitCode.OK
    kept, dice = made.store.with_suffix(".kept"), random.Random(how)
    shutil.copytree(made.store, kept)
    kinds, refused = set(), 0
    for path in files_of(made.store):
        body = path.read_bytes()
        path.chmod(0o600)
        if how == "gone":
            path.unlink()
        elif how == "truncated":
            path.write_bytes(body[: dice.randrange(len(body))])
        else:
            at = dice.randrange(len(body))
            path.write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
        kinds.add(path.relative_to(made.store).parts[0])
        with made.lab() as lab:
            try:
                report = lab.captures.verify(lab.select(), ["things"], subset="100%")
                refused += report.exit_code is ExitCode.FAILED
            except DriverError as error:
                refused += "Unable to" in str(error)
        shutil.rmtree(made.store)
        shutil.copytree(kept, made.store)
    assert refused == len(files_of(made.store))
    assert kinds == {"config", "keys", "index", "snapshots", "data"}


def test_forty_keys_that_are_wrong_lost_or_rotated_open_nothing(here):
    made = here()
    assert made.capture().exit_code is ExitCode.OK
    with made.lab() as lab:
        right = lab.secrets.reveal("restic")
    wrong = {right[:n] + chr(ord(right[n]) ^ 1) + right[n + 1 :] for n in range(0, len(right), 2)}
    wrong |= {right[:-1], right + "x", right.swapcase(), right[::-1], "x", f"{right}é"}
    wrong |= {f"{right[:n]}" for n in range(1, 40)}
    tried = sorted(wrong - {right})[:38]
    opened = 0
    for password in tried:
        with suppress(WrongPassword):
            opened += Restic(Access(str(made.store), lambda p=password: p)).exists()
    (key,) = (made.store / "keys").iterdir()
    kept = key.read_bytes()
    key.unlink()
    with suppress(DriverError):
        opened += Restic(Access(str(made.store), lambda: right)).exists()
    key.write_bytes(kept)
    env = {**os.environ, "RESTIC_PASSWORD": right, "RESTIC_REPOSITORY": str(made.store)}
    new = made.root / "new"
    new.write_text("another\n")
    subprocess.run(
        ["restic", "--no-cache", "-q", "key", "passwd", "--new-password-file", new],
        env=env, check=True, capture_output=True,
    )  # fmt: skip
    with suppress(WrongPassword):
        opened += Restic(Access(str(made.store), lambda: right)).exists()
    assert (len(tried) + 2, opened) == (40, 0)
    before = (made.data / "a").read_text()
    done = made.run("restore", "host=me", "data=things", "--yes", "--confirm", "me")
    assert done.returncode == 1
    assert "the password does not open the repository" in done.stdout + done.stderr
    assert (made.data / "a").read_text() == before

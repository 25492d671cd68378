"""F42: archives of hosts that were taken over. Each is refused before a host is touched."""

import io
import os
import subprocess
import tarfile
from contextlib import contextmanager

import pytest

from lab.errors import DriverError
from lab.model.dataset import DataSet
from lab.model.host import Host
from lab.recovery import tarwriting
from lab.recovery.hostile import hostile
from lab.recovery.manifest import FILES, Manifest, Stream, Taking, merkle_root
from lab.recovery.repository import Capture
from lab.recovery.restoring import Restoring, Wanted
from lab.recovery.tarstream import BLOCK, BrokenStream

FILE, FOLDER, LINK, OTHER = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ROOT = ("srv/d", FOLDER)
NAMES = [
    "../evil", "srv/d/../evil", "srv/d/../../etc/cron.d/evil", "srv/d/a/../../../../evil",
    "srv/d/..", "..", "/etc/cron.d/evil", "//etc/evil", "/srv/../etc/evil", "etc/cron.d/evil",
    "srv/dd", "srv", "srv/dx/a", "SRV/D/a", "srv/d//a", "srv/d/./a", "./srv/d/a", "./../evil",
    "srv/d/.strata", "srv/d/.strata/standing/x.json", "srv/d/.strata/restore/y/phase",
    "root/.ssh/authorized_keys", "srv/d/\udcff/../../evil", "srv/d/a/.", "srv/d/" + "x/" * 2100,
    "proc/self/root/evil", "dev/shm/evil", "srv/d/../d2/a", "..\\evil", "srv/d /a",
]  # fmt: skip
LINKS = [
    ("/etc", "srv/d/l/cron.d/evil"), ("/", "srv/d/l/etc/evil"), ("..", "srv/d/l/evil"),
    ("../..", "srv/d/l/evil"), (".", "srv/d/l/a"), ("/proc/self/root", "srv/d/l/evil"),
    ("/srv/d", "srv/d/l/a"), ("nowhere", "srv/d/l/a"), ("l", "srv/d/l/a"),
    ("/root/.ssh", "srv/d/l/k"),
]  # fmt: skip
HARD = [
    "/etc/passwd", "etc/shadow", "../etc/passwd", "srv/d/../../etc/passwd", "srv/d/none", "srv/d",
    "srv/d/sym", "srv/dd", "", "srv/d/other-hard",
]  # fmt: skip


def member(name, kind=FILE, content=b"", **more):
    head = tarfile.TarInfo(name)
    head.type, head.size, head.mtime = kind, len(content), 1
    for key, value in more.items():
        setattr(head, key, value)
    return head, content


def packed(*members):
    """Like tarfile, and with whatever names: nothing is made decent on the way."""
    out = bytearray()
    for head, content in members:
        out += head.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
        out += content + bytes(-len(content) % BLOCK)
    return bytes(out + bytes(2 * BLOCK))


def folder(name="srv/d"):
    return member(name, FOLDER, mode=0o755)


def corpus():  # noqa: C901 (a list of what is tried)
    """80 archives and more, by what is wrong with them."""
    for name in NAMES:
        yield f"named {name[:40]!r}", packed(folder(), member(name, content=b"evil"))
    for target, below in LINKS:
        link = member("srv/d/l", LINK, linkname=target)
        yield f"through {target}", packed(folder(), link, member(below, content=b"evil"))
    chain = [member(f"srv/d/{n}", LINK, linkname=f"{n + 1}") for n in range(8)]
    yield "a chain", packed(folder(), *chain, member("srv/d/0/evil", content=b"x"))
    swap = member("srv/d/a", FOLDER, mode=0o755), member("srv/d/a", LINK, linkname="/etc")
    yield "a folder that becomes a link", packed(folder(), *swap, member("srv/d/a/evil"))
    yield "the root is a link", packed(member("srv/d", LINK, linkname="/etc"), member("srv/d/a"))
    yield "the root is a file", packed(member("srv/d", content=b"x"), member("srv/d/a"))
    for target in HARD:
        sym = member("srv/d/sym", LINK, linkname="/etc/passwd")
        other = member("srv/d/other-hard", OTHER, linkname="/etc/passwd")
        extra = [other] if "hard" in target else []
        hard = member("srv/d/hard", OTHER, linkname=target)
        yield f"another name of {target!r}", packed(folder(), sym, *extra, hard)
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        for major in (1, 8):
            device = member("srv/d/sda", kind, devmajor=major, devminor=3)
            yield f"a device {kind!r} {major}", packed(folder(), device)
    for twice in ("srv/d/a", "srv/d"):
        yield f"{twice} twice", packed(folder(), member(twice), member(twice))
    yield "no folder above", packed(folder(), member("srv/d/none/a"))
    yield "a file above", packed(folder(), member("srv/d/f"), member("srv/d/f/a"))
    fifo = member("srv/d/p", tarfile.FIFOTYPE)
    yield "a fifo above", packed(folder(), fifo, member("srv/d/p/a"))
    for name in ("trusted.overlay.redirect", "security.selinux", "system.evil"):
        headers = {f"SCHILY.xattr.{name}": "x"}
        yield f"attribute {name}", packed(folder(), member("srv/d/a", pax_headers=headers))
    for key, value in (
        ("GNU.sparse.major", "1"), ("GNU.sparse.size", str(1 << 60)), ("GNU.sparse.map", "0,1"),
        ("size", "-1"), ("size", "9" * 30), ("uid", "-1"), ("uid", str(2**40)), ("gid", "x"),
        ("mtime", "x"), ("path", "../evil"), ("path", "/etc/evil"), ("linkpath", "\0"),
    ):  # fmt: skip
        headers = {key: value}
        yield f"says {key}={value[:12]}", _pax(headers)
    for kind in (b"S", b"V", b"M", b"D", b"Z"):
        yield f"of kind {kind!r}", packed(folder(), member("srv/d/a", kind, content=b"x" * 8))
    whole = packed(folder(), member("srv/d/a", content=b"x" * 2000))
    for at in (1, 600, len(whole) - 1024, len(whole) - 1):
        yield f"cut at {at}", whole[:at]
    for at in (148, BLOCK + 3):
        yield f"flipped at {at}", whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
    yield "more after its end", whole + folder()[0].tobuf() + bytes(1024)


def _pax(said):
    record = b"".join(tarwriting._record(k, v) for k, v in said.items())
    head = tarwriting._block(b"x", len(record), 0o600, (0, 0))
    kind = LINK if "linkpath" in said else FILE
    hers = member("srv/d/a", kind, linkname="b" if kind == LINK else "")
    body = head + record + bytes(-len(record) % BLOCK) + hers[0].tobuf()
    return packed(folder())[:-1024] + body + bytes(1024)


class Store:
    """A repository that holds one archive, and the manifest that an honest reader made of it."""

    def __init__(self, archive, manifest):
        self.archive, self._manifest = archive, manifest

    def manifest(self, _):
        return self._manifest

    @contextmanager
    def content(self, _):
        yield iter([self.archive])


class Untouched:
    def run(self, script, **_):
        raise AssertionError(f"the host was asked to run {script[:60]}")


class NoUsers:
    host = Host("h", "p", "box")


def manifest_of(archive):
    taking = Taking()
    taking.feed(archive)
    taking.close()
    stream = Stream(FILES, "s", len(archive))
    return Manifest(
        "lab", "h", "p", "d", "id", 0.0, paths=("/srv/d",), files=taking.files, size=taking.size,
        root=merkle_root(taking.entries), streams=(stream,), entries=tuple(taking.entries),
    )  # fmt: skip


def restoring(archive, manifest):
    one = DataSet("d", paths=("/srv/d",))
    return Restoring(Store(archive, manifest), Untouched(), one, NoUsers(), lambda *_: None)


CAPTURE = Capture("h", "d", "id", 0.0, 1, "ab" * 32, (), 0, 0, "", flagged=False)
CASES = list(corpus())


def test_the_corpus_is_as_large_as_it_says():
    assert len(CASES) >= 80
    assert len({name for name, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("name", "archive"), CASES, ids=[n for n, _ in CASES])
def test_it_is_refused_before_a_host_is_touched(name, archive):
    try:
        manifest = manifest_of(archive)
    except BrokenStream:
        return  # it cannot even become a capture
    with pytest.raises(DriverError, match="Unable to re"):
        restoring(archive, manifest).checked(Wanted(CAPTURE))


def test_a_setuid_bit_that_the_manifest_does_not_hold_is_refused_and_one_that_it_holds_is_not():
    plain, suid = (
        packed(folder(), member("srv/d/a", content=b"x", mode=mode)) for mode in (0o755, 0o4755)
    )
    with pytest.raises(DriverError, match="/srv/d/a: its mode is not what was captured"):
        restoring(suid, manifest_of(plain)).checked(Wanted(CAPTURE))
    found = restoring(suid, manifest_of(suid)).checked(Wanted(CAPTURE))
    assert found.entries[1].mode == 0o4755


def test_a_bomb_does_not_grow_on_the_way(tmp_path):
    """What is stored with its holes left out is no capture; zeros arrive as so many bytes."""
    archive = packed(folder(), member("srv/d/a", content=bytes(1 << 20)))
    found = manifest_of(archive)
    entries = {e.path: e for e in found.entries}
    out = b"".join(tarwriting.Only(entries, "/srv/d").of([archive], lambda _: None))
    assert len(out) == tarwriting.size_of(entries.values(), "/srv/d") < 1.01 * (1 << 20)
    (tmp_path / "new").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "new"], input=out, check=True)
    assert (tmp_path / "new/it/a").read_bytes() == bytes(1 << 20)


def test_what_we_write_ourselves_tar_and_python_read_alike(tmp_path):
    odd = "srv/d/" + "ä" * 90 + "/" + "n" * 200
    archive = packed(
        folder(),
        member(os.path.dirname(odd), FOLDER, mode=0o700),  # noqa: PTH120 (a name in an archive)
        member(odd, content=b"abc", mode=0o640, uid=3_000_000, gid=7, mtime=5),
        member("srv/d/sym", LINK, linkname="/etc/passwd"),
        member("srv/d/hard", OTHER, linkname=odd),
    )
    entries = {e.path: e for e in manifest_of(archive).entries}
    assert hostile(entries.values(), ["/srv/d"]) is None
    out = b"".join(tarwriting.Only(entries, "/srv/d").of([archive], lambda _: None))
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        names = {m.name: m for m in tar.getmembers()}
    assert names["it/hard"].linkname == odd.replace("srv/d", "it")
    assert names["it/sym"].linkname == "/etc/passwd"
    assert (names[odd.replace("srv/d", "it")].uid, names["it"].mode) == (3_000_000, 0o755)
    assert not any(n.startswith(("/", "..")) for n in names)

"""The reader of archives takes down what tar wrote, and nothing that is damaged."""

import hashlib
import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.dataset import DataSet
from lab.recovery import onhost
from lab.recovery.manifest import Manifest, Taking, merkle_root
from lab.recovery.tarstream import BLOCK, BrokenStream

NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1)
CONTENTS = st.binary(max_size=2000)


def archive(things, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in things:
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return out.getvalue()


def taken(stream, step=1 << 16):
    taking = Taking()
    for at in range(0, len(stream), step):
        taking.feed(stream[at : at + step])
    taking.close()
    return taking


@given(st.dictionaries(NAMES, CONTENTS, max_size=5), st.integers(1, 3000))
def test_any_names_and_content_in_pieces_of_any_size(things, step):
    wanted = {f"/{n.rstrip('/')}": hashlib.sha256(c).hexdigest() for n, c in things.items()}
    entries = taken(archive(things.items()), step).entries
    assert {e.path: e.sha256 for e in entries} == wanted


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_of_either_kind(form):
    name = "/".join(["x" * 90] * 4)
    assert [e.path for e in taken(archive([(name, b"1")], form)).entries] == [f"/{name}"]


@given(st.data())
def test_a_cut_or_a_flipped_header_is_refused(data):
    whole = archive([("a", b"x" * 700), ("b", b"y")])
    cut = data.draw(st.integers(0, len(whole.rstrip(b"\0")) - 1))
    with pytest.raises(BrokenStream):
        taken(whole[:cut])
    at = data.draw(st.integers(0, BLOCK - 1))
    flipped = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
    try:
        other = taken(flipped)
    except BrokenStream:
        return
    assert other.entries == taken(whole).entries, "only what means nothing may differ"


@pytest.mark.parametrize(
    "record", [bytes(600), b"0 =\n", b"6 a=b\n" + bytes(30), b"00 path=x\n", b"9 path=xx\n"]
)
def test_a_record_that_leads_nowhere_ends(record):
    head = tarfile.TarInfo("PaxHeaders/a")
    head.type, head.size = tarfile.XHDTYPE, len(record)
    with pytest.raises(BrokenStream):
        taken(head.tobuf() + record + bytes(-len(record) % BLOCK) + bytes(2 * BLOCK))


@pytest.mark.parametrize("size", [b"-0000001000", b"+0000001000", b"00000_00100", b"9" * 11])
def test_a_size_is_octal_digits_and_nothing_else(size):
    head = bytearray(tarfile.TarInfo("a").tobuf())
    head[124:135], head[148:156] = size, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    with pytest.raises(BrokenStream):
        taken(bytes(head) + bytes(3 * BLOCK))


def test_what_gnu_tar_writes_of_all_kinds(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("x")
    (data / "cache").mkdir()
    (data / ".strata").mkdir()
    os.link(data / "file", data / "hard")
    (data / "soft").symlink_to("file")
    os.mkfifo(data / "fifo")
    (data / "file").chmod(0o4750)
    one = DataSet("x", (str(data),), exclude=(f"{data}/cache",))
    done = subprocess.run(["sh", "-c", onhost.files(one)], capture_output=True, check=True)
    entries = {e.path.removeprefix(f"{data}/"): e for e in taken(done.stdout).entries}
    assert {n: e.kind for n, e in entries.items() if n != str(data)} == {
        "file": "file", "hard": "hardlink", "soft": "symlink", "fifo": "fifo"
    }  # fmt: skip
    assert entries["file"].mode == 0o4750
    assert entries["hard"].link == f"{data}/file"
    assert entries["soft"].link == "file"


def test_a_manifest_is_read_as_it_was_written():
    entries = tuple(taken(archive([("ä\udcff", b"1"), ("b\n", b"2")])).entries)
    manifest = Manifest("l", "h", "p", "d", "1", 2.5, entries=entries, root=merkle_root(entries))
    assert Manifest.read(manifest.written()) == manifest
    lines = list(manifest.written())
    for broken in (lines[:-1], lines[1:], []):
        with pytest.raises(ValueError, match=r"."):
            Manifest.read(broken)


def test_the_root_changes_with_anything_but_the_time():
    (entry,) = taken(archive([("a", b"1")])).entries
    root = merkle_root([entry])
    assert merkle_root([entry._replace(mtime="9")]) == root
    for change in (
        {"path": "/b"},
        {"mode": 1},
        {"uid": 1},
        {"gid": 1},
        {"sha256": "0"},
        {"size": 2},
    ):
        assert merkle_root([entry._replace(**change)]) != root
    assert merkle_root([entry], "dump") != root

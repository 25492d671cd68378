"""Restores on this machine out of a real repository: whole, in part, killed, refused, put back."""

import json
import os
import shutil
import subprocess

import pytest

from lab import Approval
from lab.errors import Destructive
from lab.recovery.restores import Asked, moment

POINTS = [
    "restore.after_check",
    "restore.prepared",
    "restore.unpacking",
    "restore.unpacked",
    "restore.verified",
    "restore.all_beside",
    "restore.stopped",
    "restore.swapped",
    "restore.started",
    "restore.finished",
]
TYPED = Approval(confirmed=frozenset({"me"}))


def filled(folder):
    """Everything that a folder may hold and a capture must bring back."""
    (folder / "deep/er").mkdir(parents=True, exist_ok=True)
    (folder / "deep/er/file").write_bytes(os.urandom(300_000))
    (folder / "deep/er/file").chmod(0o640)
    (folder / "new\nline").write_text("odd")
    (folder / "bytes\udcff").write_text("odder")
    (folder / ("long" * 50)).write_text("long")
    (folder / "suid").write_text("#!/bin/sh\n")
    (folder / "suid").chmod(0o4755)
    (folder / "link").symlink_to("/etc/passwd")
    os.link(folder / "suid", folder / "other name")
    os.mkfifo(folder / "fifo")
    os.chown(folder / "deep", 1234, 4321)
    os.setxattr(folder / "suid", "user.note", b"kept \xff")
    os.utime(folder / "deep/er/file", ns=(1, 1_600_000_000_123_456_789))


def tree(folder):
    """All of it, in a form that compares."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        if ".strata" in path.parts:
            continue
        seen = path.lstat()
        what = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        link = str(path.readlink()) if path.is_symlink() else ""
        attributes = () if path.is_symlink() else tuple(os.listxattr(path))
        found[str(path.relative_to(folder))] = (
            seen.st_mode, seen.st_uid, seen.st_gid, what, link, attributes,
            seen.st_mtime_ns if path.is_file() else 0,
        )  # fmt: skip
    return found


def marks(disk):
    return [json.loads(p.read_text()) for p in (disk / ".strata/standing").iterdir()]


@pytest.fixture(params=["below", "mounted"])
def made(here, disk, request):
    """A captured folder: below a mount point, or one itself."""
    made = here(data=disk / "data" if request.param == "below" else disk)
    filled(made.data)
    assert made.capture().exit_code == 0
    return made


def restored(made, *, approval=TYPED, **asked):
    with made.lab() as lab:
        report = lab.recovery.restore(
            "host=me", asked=Asked(("things",), **asked), approval=approval
        )
    return report.run.parts[0]


def emptied(folder):
    for path in folder.iterdir():
        if path.name != ".strata":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def test_what_was_lost_comes_back_to_the_last_attribute(made, disk):
    before = tree(made.data)
    emptied(made.data)
    part = restored(made, approval=Approval())
    assert part.failure is None
    assert tree(made.data) == before
    (mark,) = marks(disk)
    assert (mark["standing"], mark["state"], mark["path"]) == (
        "restored", "complete", str(made.data),
    )  # fmt: skip
    assert not (disk / ".strata/restore").exists(), "nothing is left behind"
    assert made.capture().exit_code == 0


def test_data_that_is_there_gives_way_only_to_a_typed_name(made):
    before = tree(made.data)
    (made.data / "a").write_text("edited\n")
    (made.data / "more").write_text("more\n")
    changed = tree(made.data)
    part = restored(made, approval=Approval())
    assert part.failure.kind == Destructive.__name__
    assert tree(made.data) == changed
    assert restored(made).failure is None
    assert tree(made.data) == before


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_restore_that_is_killed_anywhere_is_finished_by_the_same_again(made, disk, point):
    before = tree(made.data)
    (made.data / "a").write_text("edited\n")
    changed = tree(made.data)
    words = ("restore", "host=me", "data=things", "--yes", "--confirm", "me")
    assert made.run(*words, fault=point).returncode == -9, "the fault did not happen"
    if point in {"restore.swapped", "restore.started"}:
        assert [m["state"] for m in marks(disk)] == ["restoring"]
        assert made.capture().exit_code != 0, "no capture of what nobody proved"
    elif point != "restore.finished":
        assert tree(made.data) == changed, "nothing was touched"
    again = made.run(*words)
    assert again.returncode == 0, again.stderr
    assert tree(made.data) == before
    assert [m["state"] for m in marks(disk)] == ["complete"]
    assert not (disk / ".strata/restore").exists()
    assert made.capture().exit_code == 0


def test_a_kill_while_it_is_swapped_can_also_be_answered_by_another_capture(made):
    first = tree(made.data)
    (made.data / "a").write_text("second\n")
    assert made.capture().exit_code == 0
    second = tree(made.data)
    (made.data / "a").write_text("third\n")
    words = ("restore", "host=me", "data=things", "--yes", "--confirm", "me")
    assert made.run(*words, fault="restore.swapped").returncode == -9
    assert tree(made.data) == second
    old = made.listing().captures[1].snapshot[:12]
    assert restored(made, at=old).failure is None
    assert tree(made.data) == first


def test_one_path_of_it_and_another_place(made, disk):
    before = tree(made.data)
    (made.data / "deep/er/file").unlink()
    (made.data / "a").write_text("edited\n")
    assert restored(made, only=str(made.data / "deep")).failure is None
    assert (made.data / "a").read_text() == "edited\n"
    assert tree(made.data / "deep") == tree_below(before, "deep")
    assert restored(made, to=str(disk.parent / "elsewhere"), approval=Approval()).failure is None
    assert tree(disk.parent / "elsewhere") == before
    again = restored(made, to=str(disk.parent / "elsewhere"))
    assert "is not empty" in again.failure.message


def tree_below(found, name):
    return {
        (k[len(name) + 1 :] or "."): v
        for k, v in found.items()
        if k == name or k.startswith(f"{name}/")
    }


@pytest.mark.parametrize("how", ["truncated", "flipped", "gone"])
def test_a_damaged_capture_is_refused_before_the_target_is_touched(made, disk, how):
    (made.data / "a").write_text("edited\n")
    changed = tree(made.data)
    packs = [p for p in (made.store / "data").rglob("*") if p.is_file()]
    pack = max(packs, key=lambda p: p.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o600)
    if how == "gone":
        pack.unlink()
    else:
        half = len(whole) // 2
        cut = whole[:half] if how == "truncated" else (
            whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
        )  # fmt: skip
        pack.write_bytes(cut)
    part = restored(made)
    assert "Unable to rely on the capture of things of me" in part.failure.message
    assert tree(made.data) == changed
    assert not (disk / ".strata").exists()


def test_a_path_that_will_not_hold_it_is_refused(here, disk):
    made = here(data=disk / "data")
    made.data.joinpath("big").write_bytes(bytes(8 << 20))
    assert made.capture().exit_code == 0
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    part = restored(made)
    assert "need room beside" in part.failure.message


def test_a_mount_below_it_is_never_swapped_away(here, disk):
    made = here(data=disk / "data")
    assert made.capture().exit_code == 0
    below = made.data / "it's below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(below)], check=True)
    try:
        part = restored(made)
    finally:
        subprocess.run(["umount", str(below)], check=True)
    assert f"{below} is mounted below {made.data}" in part.failure.message


def test_a_dump_goes_through_its_restore_command(here, disk):
    base = disk / "base"
    made = here(f", dump: 'cat {base}', restore: 'cat > {base}'", data=disk / "data")
    base.write_text("every row\n" * 1000)
    assert made.capture().exit_code == 0
    base.write_text("gone\n")
    assert restored(made).failure is None
    assert base.read_text() == "every row\n" * 1000


def test_a_restore_command_that_fails_puts_the_original_back(here, disk):
    made = here(", dump: 'echo x', restore: 'echo no such role >&2; exit 3'", data=disk / "data")
    assert made.capture().exit_code == 0
    (made.data / "a").write_text("edited\n")
    changed = tree(made.data)
    part = restored(made)
    assert "no such role" in part.failure.message
    assert "the original is in its place again" in part.failure.hint
    assert tree(made.data) == changed
    assert marks(disk) == []


def test_empty_paths_may_be_begun_anew_on_purpose(here, disk):
    made = here(data=disk / "data")
    assert made.capture().exit_code == 0
    words = ("restore", "host=me", "data=things", "--as-fresh")
    assert made.run(*words, "--no-input").returncode == 5
    assert made.run(*words, "--confirm", "me").returncode != 0, "it is not empty"
    shutil.rmtree(made.data)
    done = made.run(*words, "--confirm", "me", "--json")
    assert json.loads(done.stdout)["exit_code"] == 0
    assert [m["standing"] for m in marks(disk)] == ["fresh"]


def test_words_that_mean_nothing_are_refused(here):
    made = here()
    codes = set()
    for words in (["at=yesterday", "host=me"], ["to=relative", "host=me"], ["data=things"]):
        codes.add(made.run("restore", *words, "--yes").returncode)
    assert len(codes) == 1
    assert codes.isdisjoint({0, 1})
    assert moment("2026-11-20T08:30") == 1795163400.0
    assert moment("2026-11-20") == 1795219199.0

"""The fragments against this machine: they look, and change nothing outside a test's folder."""

from __future__ import annotations

import getpass
import grp
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.clients import shell
from lab.errors import TransportError
from lab.layer import Target, Workspace
from lab.model.files import LabFile
from lab.model.host import Host
from lab.model.plan import Plan
from layers.l3_system import planner
from layers.l3_system.drivers import native
from layers.l3_system.kinds import script
from layers.l3_system.spec import Document, Inputs, Observed

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
linux = pytest.mark.skipif(not Path("/proc/sys/kernel/ostype").exists(), reason="not Linux")


class Local(native.NativeDriver):
    """The native driver on this machine, without becoming root."""

    def _shell(self, target: Target) -> shell.Shell:
        opened = self._workspace.resource(shell.shells).to(shell.Endpoint("here", kind="local"))
        return _AsMe(opened.endpoint, self._workspace.runtime, threading.Event())


class _AsMe(shell.Shell):
    def run(self, script, **options):
        try:
            return super().run(script, **options, root=False)
        finally:
            self.close()


@pytest.fixture
def driver(tmp_path, monkeypatch) -> Iterator[Local]:
    library = tmp_path / "lib"
    monkeypatch.setattr(script, "_COMMON", script._COMMON.replace("/var/lib/strata", str(library)))
    workspace = Workspace("t", tmp_path, tmp_path / "s", tmp_path / "c", tmp_path / "r")
    yield Local(workspace)
    workspace.close()


def _target(system, name="web1") -> Target:
    (part,) = planner.parts(Document.model_validate({"system": system}))
    return Target(Host(name, "web", "box"), part.spec, Inputs(address="x"))


@pytest.fixture
def converge(driver) -> Callable[[dict], tuple[Plan, Observed]]:
    """Apply what concerns files and directories; give the plan before and what is there after."""

    def run(system):
        target = _target(system, socket.gethostname())
        plan = planner.plan(target, driver.observe(target), frozenset())
        changes = [c for c in plan.changes if c.what.split()[0] in {"file", "directory"}]
        told: list[tuple[str, str]] = []
        driver.apply_batch(
            target,
            changes,
            lambda c: told.append(("started", c.what)),
            lambda c: told.append(("done", c.what)),
        )
        assert sorted(told) == sorted((s, c.what) for c in changes for s in ("started", "done"))
        observed = driver.observe(target)
        again = planner.plan(target, observed, frozenset())
        assert [c for c in again.changes if c.what.split()[0] in {"file", "directory"}] == []
        return Plan(tuple(changes)), observed

    return run


def test_everything_at_once_in_one_answer(driver):
    target = _target(
        {
            "users": {"root": {}, "no-such-user": {}},
            "groups": {"root": None, "no-such-group": None},
            "files": {"/etc/passwd": {"content": ""}, "/no/such": {"content": ""}},
            "directories": {"/": None, "/no/such/dir": None},
            "sysctl": {"kernel.ostype": "Linux", "no.such": 1},
            "mounts": {"/proc": {"source": "proc"}, "/no/mount": {"source": "x"}},
        }
    )
    things = driver.observe(target).things
    assert things["user"]["root"].fields["uid"] == 0
    assert things["group"]["root"].fields == {"gid": 0}
    assert things["file"]["/etc/passwd"].facts["text"] == Path("/etc/passwd").read_text()
    assert things["file"]["/etc/passwd"].fields["owner"] == "root"
    assert things["directory"]["/"].facts["kind"] == "directory"
    assert things["sysctl"]["kernel.ostype"].fields == {"value": "Linux", "boot": None}
    assert things["mount"]["/proc"].fields["mounted"] is True
    assert things["hostname"]["web1"].fields["running"] == socket.gethostname()
    for kind, name in [
        ("user", "no-such-user"),
        ("group", "no-such-group"),
        ("file", "/no/such"),
        ("directory", "/no/such/dir"),
        ("sysctl", "no.such"),
        ("mount", "/no/mount"),
    ]:
        assert name not in things[kind]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg here")
def test_packages(driver):
    things = driver.observe(_target({"packages": ["dpkg", "no-such-package"]})).things["package"]
    assert things["dpkg"].fields == {"state": "installed"}
    assert things["dpkg"].facts["version"]
    assert "no-such-package" not in things


def test_looking_twice_finds_the_same(driver):
    target = _target({"files": {"/etc/passwd": {"content": "x"}}, "packages": ["dpkg"]})
    assert driver.observe(target) == driver.observe(target)


def test_a_file_comes_changes_and_goes(converge, tmp_path):
    path = tmp_path / "it's a $file"
    plan, observed = converge({"files": {str(path): {"content": "one\n", "mode": "0640", **ME}}})
    assert [c.action.sign for c in plan.changes] == ["+"]
    assert path.read_text() == "one\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert observed.owned == {f"file {path}": "made"}
    path.write_text("odd\n")
    plan, _ = converge({"files": {str(path): {"content": "one\n", "mode": "0640", **ME}}})
    (content,) = plan.changes[0].fields
    assert "-odd" in content.text.splitlines()
    plan, observed = converge({})
    assert [c.action.sign for c in plan.changes] == ["-"]
    assert not path.exists()
    assert observed.owned == {}


def test_any_content_and_several_at_once(converge, tmp_path):
    contents = {"a": b"", "b": bytes(range(256)) * 700, "c": b"no newline", "d": b"\n\n"}
    files = {str(tmp_path / n): {"source": LabFile(n, c), **ME} for n, c in contents.items()}
    converge({"files": files})
    assert {n: (tmp_path / n).read_bytes() for n in contents} == contents


def test_a_file_that_was_there_comes_back(converge, tmp_path):
    path = tmp_path / "conf"
    path.write_text("the machine's own\n")
    path.chmod(0o600)
    converge({"files": {str(path): {"content": "ours\n", **ME}}})
    converge({"files": {str(path): {"content": "ours, later\n", **ME}}})
    _, observed = converge({})
    assert path.read_text() == "the machine's own\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert observed.owned == {}


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(converge, tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    converge({"files": {str(tmp_path / "link"): {"content": "ours", **ME}}})
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()
    converge({})
    assert (tmp_path / "link").is_symlink()


def test_directories(converge, tmp_path):
    ours, theirs, full = (tmp_path / n for n in ("ours", "theirs", "full"))
    theirs.mkdir(mode=0o755)
    names = {str(p): {"mode": "0700", **ME} for p in (ours, theirs, full)}
    converge({"directories": names})
    assert [p.stat().st_mode & 0o777 for p in (ours, theirs, full)] == [0o700] * 3
    (full / "mine").write_text("")
    _, observed = converge({})
    assert not ours.exists()
    assert (full / "mine").exists()
    assert theirs.stat().st_mode & 0o777 == 0o755
    assert observed.owned == {}


def test_a_crash_before_the_record_is_taken_back_is_repaired(converge, tmp_path):
    path = tmp_path / "a"
    converge({"files": {str(path): {"content": "x", **ME}}})
    path.unlink()
    plan, observed = converge({})
    assert "only forgotten" in plan.changes[0].reason
    assert observed.owned == {}


def test_a_torn_record_is_ignored():
    lines = ["+\tfile /a\tmade", "+\tfile /b\tfound", "-\tfile /a\t", "+\tfile"]
    assert script.ledger(lines) == {"file /b": "found", "file": ""}


def test_a_step_that_fails_names_its_change_and_those_before_count(driver, tmp_path):
    (tmp_path / "file").write_text("")
    files = {
        str(tmp_path / "a"): {"content": "", **ME},
        str(tmp_path / "file" / "b"): {"content": "", **ME},
        str(tmp_path / "c"): {"content": "", **ME},
    }
    target = _target({"files": files})
    plan = planner.plan(target, Observed(), frozenset())
    changes = [c for c in plan.changes if c.what.startswith("file")]
    told: list[str] = []
    with pytest.raises(
        native.DriverError, match=r"Unable to make file .*/file/b on web1: "
    ) as caught:
        driver.apply_batch(
            target,
            changes,
            lambda c: told.append(f"+{c.what}"),
            lambda c: told.append(f"={c.what}"),
        )
    assert caught.value.lines
    assert told == [f"+{changes[0].what}", f"={changes[0].what}", f"+{changes[1].what}"]
    assert not (tmp_path / "c").exists()


def test_without_an_address_nothing_is_tried(tmp_path):
    workspace = Workspace("t", tmp_path, tmp_path, tmp_path, tmp_path)
    (part,) = planner.parts(Document.model_validate({}))
    with pytest.raises(TransportError, match="no address yet"):
        native.NativeDriver(workspace).observe(Target(Host("a", "b", "c"), part.spec, Inputs()))

"""The fragments against this machine: they look, and change nothing outside a test's folder."""

from __future__ import annotations

import getpass
import grp
import os
import shlex
import shutil
import socket
import subprocess
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
from layers.l3_system.kinds.kind import Step
from layers.l3_system.spec import Document, Inputs, Observed

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
PATHS = {"file", "directory", "link", "absent", "edit"}
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
    """Apply what concerns paths; give the plan before and what is there after."""

    def run(system):
        target = _target(system, socket.gethostname())
        plan = planner.plan(target, driver.observe(target), frozenset())
        changes = [c for c in plan.changes if c.what.split()[0] in PATHS]
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
        assert [c for c in again.changes if c.what.split()[0] in PATHS] == []
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
            "links": {"/proc/self": "x", "/no/link": "x"},
            "absent": ["/etc/passwd", "/no/thing", "/etc"],
            "lines": {"/etc/group": {"a": "b"}},
            "swap": {"/etc/passwd": "1MiB", "/no/swap": "1MiB"},
            "kernel_modules": ["no_such_module"],
            "locale": {"generate": ["xx_XX.UTF-8"]},
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
    assert things["link"]["/proc/self"].fields["target"].isdigit()
    assert {n: t.fields["there"] for n, t in things["absent"].items()} == {
        "/etc/passwd": "file",
        "/no/thing": None,
        "/etc": "directory that is not empty",
    }
    assert things["edit"]["/etc/group"].facts["now"] == Path("/etc/group").read_text()
    assert things["swap"]["/etc/passwd"].fields["on"] is False
    for kind, name in [
        ("link", "/no/link"),
        ("swap", "/no/swap"),
        ("module", "no_such_module"),
        ("locale", "xx_XX.UTF-8"),
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


def test_a_command_refuses_a_file_and_nothing_is_left(converge, driver, tmp_path):
    path = tmp_path / "new" / "it's"
    files = {str(path): {"content": "bad", "validate": "cat %s; echo; echo no; false", **ME}}
    with pytest.raises(native.DriverError, match=r"echo no; false refuses it.*: no\."):
        converge({"files": files})
    assert not path.parent.exists()
    assert not (tmp_path / "lib").exists()
    files[str(path)]["validate"] = "test bad = $(cat %s)"
    converge({"files": files})
    assert path.read_text() == "bad"


def test_links_and_absences_come_and_go(converge, tmp_path):
    old, link, gone, empty = (tmp_path / n for n in ("old", "a link -> x", "gone", "empty"))
    old.write_text("old")
    gone.symlink_to("nowhere")
    empty.mkdir(mode=0o711)
    system = {
        "links": {str(link): "it's here", str(old): str(tmp_path)},
        "absent": [str(gone), str(empty), str(tmp_path / "never")],
    }
    plan, _ = converge(system)
    assert [c.action.sign for c in plan.changes] == ["+", "~", "-", "-"]
    assert (str(link.readlink()), str(old.readlink())) == ("it's here", str(tmp_path))
    assert not empty.exists()
    old.unlink()
    old.symlink_to("elsewhere")
    plan, _ = converge(system)
    assert [f.before for c in plan.changes for f in c.fields] == ["elsewhere"]
    _, observed = converge({})
    assert old.read_text() == "old"
    assert str(gone.readlink()) == "nowhere"
    assert empty.stat().st_mode & 0o777 == 0o711
    assert not link.is_symlink()
    assert observed.owned == {}


def test_a_folder_with_something_in_it_goes_only_where_that_is_declared(converge, tmp_path):
    full = tmp_path / "full"
    (full / "sub").mkdir(parents=True)
    (full / ".hidden").write_text("")
    (full / ".hidden").unlink()
    target = _target({"absent": [str(full)]})
    observed = Observed(things={"absent": {}})
    assert planner.plan(target, observed, frozenset()).changes[0].reason == "if it is there"
    plan, _ = converge({"absent": {str(full): {"recursive": True}}})
    assert plan.changes[0].destroys == f"{full} and all that is in it"
    assert not full.exists()
    converge({})


def test_lines_and_blocks_come_change_and_go(converge, tmp_path):
    path, new = tmp_path / "it's $conf", tmp_path / "deep" / "new"
    original = b"#Port 22\r\nweird \xff \\ $(id) `x`\r\nlast"
    path.write_bytes(original)
    path.chmod(0o640)
    system = {
        "lines": {
            str(path): {
                "port": {"line": "Port 2", "match": "^#?Port "},
                "odd": {"line": "it's $HOME \\ %s", "after": "Port"},
            },
            str(new): {"only": "one"},
        },
        "blocks": {str(path): {"b": {"content": "in\n", "before": "^last"}}},
    }
    plan, observed = converge(system)
    assert [c.action.sign for c in plan.changes] == ["~", "+"]
    assert path.read_bytes() == (
        b"Port 2\r\nit's $HOME \\ %s\r\nweird \xff \\ $(id) `x`\r\n"
        b"# BEGIN strata b\r\nin\r\n# END strata b\r\nlast"
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert new.read_text() == "one\n"
    assert new.stat().st_mode & 0o777 == 0o644
    assert observed.things["edit"][str(path)].facts["same"] is True
    path.write_bytes(path.read_bytes().replace(b"in\r\n", b"", 1))
    plan, _ = converge(system)
    assert "+in" in [line.rstrip("\r") for line in plan.changes[0].fields[0].text.splitlines()]
    _, observed = converge({"lines": {str(path): system["lines"][str(path)]}})
    assert not new.exists()
    _, observed = converge({})
    assert path.read_bytes() == original
    assert path.stat().st_mode & 0o777 == 0o640
    assert observed.owned == {}


def test_a_file_that_changed_since_it_was_looked_at_is_not_written(driver, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("x\n")
    target = _target({"lines": {str(path): {"one": "1"}}})
    plan = planner.plan(target, driver.observe(target), frozenset())
    look = driver._look

    def then_somebody_writes(*args):
        found = look(*args)
        path.write_text("y\n")
        return found

    monkeypatch.setattr(driver, "_look", then_somebody_writes)
    changes = [c for c in plan.changes if c.what.startswith("edit")]
    with pytest.raises(native.DriverError, match="was changed meanwhile"):
        driver.apply_batch(target, changes, lambda _: None, lambda _: None)
    assert path.read_text() == "y\n"


def test_a_file_that_does_not_arrive_whole_is_not_written(tmp_path):
    step = Step((), 'beside "$p"; take "$new" 10; place "$p"')
    script_text, _ = script.applying("n", [step])
    done = subprocess.run(
        ["sh", "-c", f"p={tmp_path}/sub/a\n{script_text}"],
        input=b"cut",
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert b"sub/a did not arrive whole" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_record_torn_by_a_full_disk_costs_only_itself(driver, tmp_path):
    owned = tmp_path / "lib" / "owned"
    owned.parent.mkdir()
    owned.write_text("+\tfile /a\tmade\n+\tfile /b")
    step = Step((), "own 'file /c' made; disown 'file /a'")
    text, _ = script.applying("n", [step])
    subprocess.run(
        ["sh", "-c", text.replace("/var/lib/strata", str(owned.parent))], check=True, timeout=30
    )
    assert script.ledger(owned.read_text().splitlines()) == {"file /b": "", "file /c": "made"}


@pytest.fixture
def ledger(tmp_path):
    """Run steps with a ledger of their own; returns the status and what is ours then."""
    owned = tmp_path / "lib" / "owned"
    owned.parent.mkdir()

    def run(*steps, before=""):
        owned.write_text(before)
        text, _ = script.applying("n", steps)
        text = text.replace("/var/lib/strata", str(owned.parent))
        done = subprocess.run(["sh", "-c", text], capture_output=True, check=False, timeout=30)
        return done.returncode, script.ledger(owned.read_text().splitlines())

    return run


def made(thing, where="", does=":"):
    return Step((), does, makes=((thing, str(where)),))


def test_what_all_steps_make_is_ours_before_the_first_begins(ledger, tmp_path):
    look = made("file /a", does=f"cat {tmp_path}/lib/owned >{tmp_path}/seen")
    assert ledger(look, made("file /b")) == (0, {"file /a": "made", "file /b": "made"})
    assert "file /b" in (tmp_path / "seen").read_text()


def test_what_is_there_already_is_not_ours_before_its_step_says_so(ledger, tmp_path):
    there, dangling = tmp_path / "there", tmp_path / "link"
    there.write_text("")
    dangling.symlink_to("nowhere")
    steps = made("file a", there), made("file b", dangling), made("file c", tmp_path / "c")
    assert ledger(*steps) == (0, {"file c": "made"})


def test_what_a_failure_keeps_from_being_made_is_not_ours(ledger):
    steps = made("x 0"), made("x 1", does="false"), made("x 2"), made("x 3")
    before = "+\tx 3\tfound me\n"
    assert ledger(*steps, before=before) == (
        1, {"x 0": "made", "x 1": "made", "x 3": "found me"}
    )  # fmt: skip


def test_a_file_that_its_own_step_failed_to_make_is_not_ours(ledger, tmp_path):
    there, not_there = tmp_path / "a:b", tmp_path / "c"
    failing = made(f"file {there}", there, f"touch {there}; false")
    assert ledger(failing) == (1, {f"file {there}": "made"})
    assert ledger(made(f"file {not_there}", not_there, "false")) == (1, {})


def test_what_was_ours_stays_as_it_was_recorded(ledger):
    before = "+\tx 1\tfound 0644\n+\tx 2\tmade\n-\tx 2\t\n"
    steps = made("x 1", does="own 'x 1' made"), made("x 2")
    assert ledger(*steps, before=before) == (0, {"x 1": "found 0644", "x 2": "made"})


@pytest.mark.parametrize("name", ["file /a b", "file /*", "x [a]", "x $(id)", "x 'q' \"r\" \\ `"])
def test_any_name_is_recorded_as_it_is(ledger, name):
    again = Step((), f"own {shlex.quote(name)} found")
    assert ledger(made(name), again) == (0, {name: "made"})


def test_what_one_step_took_back_another_can_own_again(ledger):
    steps = Step((), "disown 'x 1'"), Step((), "own 'x 1' again")
    assert ledger(*steps, before="+\tx 1\tmade\n") == (0, {"x 1": "again"})


def test_what_one_step_owned_another_does_not_own_anew(ledger):
    steps = Step((), "own 'x 1' found"), Step((), "own 'x 1' made")
    assert ledger(*steps) == (0, {"x 1": "found"})


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

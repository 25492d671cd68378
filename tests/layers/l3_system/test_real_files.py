"""Files, services and settings on a real host: made once, mended after drift, taken back whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.errors import DriverError
from lab.model.files import LabFile
from lab.model.plan import Plan

pytestmark = pytest.mark.engine


# --- files ---


def test_a_file_that_its_command_refuses_leaves_everything_as_it_was(machine):
    good = {"/etc/app/app.conf": {"content": "good\n", "validate": "grep -q good %s"}}
    bad = {"/etc/app/app.conf": {"content": "bad\n", "validate": "grep good %s"}}
    look = "ls -lAR --full-time /etc/app 2>&1 || :; cat /etc/app/* /var/lib/strata/owned || :"
    for before in ({}, good):
        machine.converge({"files": before})
        there = machine.run(look)
        with pytest.raises(DriverError, match=r"on real: grep good %s refuses it, and nothing was"):
            machine.converge({"files": bad})
        after = machine.run(look)
        assert after == there
    machine.converge({"files": good})


def test_what_the_command_said_is_told(machine):
    files = {"/etc/sudoers.d/x": {"content": "nonsense\n", "validate": "visudo -cf %s"}}
    with pytest.raises(DriverError) as caught:
        machine.converge({"files": files})
    assert "visudo -cf %s refuses it" in str(caught.value)
    assert any("syntax error" in line for line in caught.value.lines)


@pytest.mark.parametrize("size", [100_000, 60_000])
def test_a_full_disk_is_named_and_the_next_run_goes_on(machine, size):
    machine.run("mkdir /mnt/small && mount -t tmpfs -o size=64k none /mnt/small")
    try:
        machine.run(f"head -c {65536 if size == 60_000 else 0} /dev/zero >/mnt/small/full || :")
        files = {"/mnt/small/new/file": {"content": "x" * size}}
        with pytest.raises(DriverError, match=r"new/file on real: .*No space left on device"):
            machine.converge({"files": files})
        assert machine.run("ls -A /mnt/small") == "full"
        assert "/mnt/small" not in machine.run("cat /var/lib/strata/owned")
        machine.run("rm /mnt/small/full; mount -o remount,size=1m /mnt/small")
        assert machine.converge({"files": files}) == ["+ file /mnt/small/new/file"]
        machine.converge({})
    finally:
        machine.run("umount /mnt/small; rmdir /mnt/small")


def test_a_read_only_directory_is_named_and_the_next_run_goes_on(machine):
    system = {
        "files": {"/mnt/ro/file": {"content": "x"}},
        "links": {"/mnt/ro/link": "/etc"},
        "lines": {"/mnt/ro/lines": {"a": "b"}},
    }
    machine.run("mkdir /mnt/ro && mount -t tmpfs none /mnt/ro && mount -o remount,ro /mnt/ro")
    try:
        for kind, path in [("files", "file"), ("links", "link"), ("lines", "lines")]:
            with pytest.raises(DriverError, match=r"/mnt/ro/.* on real: .*Read-only file system"):
                machine.converge({kind: system[kind]})
            assert machine.run("ls -A /mnt/ro") == "", path
        machine.run("mount -o remount,rw /mnt/ro")
        machine.converge(system)
        machine.converge({})
        assert machine.run("ls -A /mnt/ro") == ""
    finally:
        machine.run("umount /mnt/ro; rmdir /mnt/ro")


def test_a_full_disk_below_the_ledger_records_nothing_by_halves(machine):
    machine.converge({"files": {"/etc/one": {"content": "1"}}})
    machine.run(
        "cp -a /var/lib/strata /root/kept; mount -t tmpfs -o size=16k none /var/lib/strata\n"
        "cp -a /root/kept/. /var/lib/strata; head -c 16384 /dev/zero >/var/lib/strata/zero || :"
    )
    both = {"files": {"/etc/one": {"content": "1"}, "/etc/two": {"content": "2" * 5000}}}
    machine.run("echo before >/etc/two")
    try:
        with pytest.raises(DriverError, match="No space left"):
            machine.converge(both)
        assert machine.run("cat /etc/two") == "before"
        machine.run("rm /var/lib/strata/zero")
        machine.converge(both)
        machine.run("umount /var/lib/strata || umount -l /var/lib/strata; rm -rf /root/kept")
        assert machine.converge(both) == []
    finally:
        machine.run("umount /var/lib/strata 2>/dev/null || :; rm -f /etc/two")
    machine.converge({})


def test_links_absences_and_files_come_and_go(machine):
    machine.run(
        "echo motd >/root/was; chmod 600 /root/was; ln -sfn /etc/hostname /root/old; "
        "mkdir -m 711 /root/empty; mkdir -p /root/full/sub; touch /root/full/sub/x; echo f >/root/f"
    )
    list_all = "cd /root; stat -c '%n %A %U' was old empty f; cat was f; readlink old"
    before = machine.run(list_all)
    system = {
        "links": {"/root/f": "/etc/passwd", "/root/new link": "no where", "/root/old": "/etc"},
        "absent": {"/root/was": None, "/root/empty": None, "/root/nothing": None},
    }
    assert machine.converge(system) == [
        "~ link /root/f",
        "+ link /root/new link",
        "~ link /root/old",
        "- absent /root/was",
        "- absent /root/empty",
    ]
    assert machine.run("cd /root; readlink f 'new link' old; ls -d was empty 2>/dev/null || :") == (
        "/etc/passwd\nno where\n/etc"
    )
    machine.run("rm '/root/new link'; ln -sfn /tmp /root/old; echo again >/root/was")
    assert machine.converge(system) == [
        "+ link /root/new link",
        "~ link /root/old",
        "- absent /root/was",
    ]
    machine.converge({})
    assert machine.run(list_all) == before
    blocked = machine.plan({"absent": ["/root/full"], "links": {"/root/full": "/x"}})
    assert {b.what for b in blocked.blockers} == {"absent /root/full", "link /root/full"}
    plan = machine.plan({"absent": {"/root/full": {"recursive": True}}})
    assert plan.changes[0].destroys == "/root/full and all that is in it"
    machine.converge({"absent": {"/root/full": {"recursive": True}}})
    assert machine.run("ls -d /root/full 2>/dev/null || echo gone") == "gone"
    machine.run("cd /root; rm -rf was old empty f")


def test_a_link_that_must_lead_somewhere(machine):
    links = {"/root/l": {"target": "/no/where", "exists": True}}
    with pytest.raises(DriverError, match="there is no /no/where"):
        machine.converge({"links": links})
    assert machine.run("ls /root/l 2>/dev/null || echo none") == "none"


def test_nothing_within_a_mount_is_removed(machine):
    machine.run("mkdir -p /root/d/m; touch /root/d/x; mount -t tmpfs none /root/d/m")
    try:
        with pytest.raises(DriverError, match="/root/d/m is mounted"):
            machine.converge({"absent": {"/root/d": {"recursive": True}}})
        assert machine.run("ls /root/d") == "m\nx"
    finally:
        machine.run("umount /root/d/m; rm -rf /root/d")


def test_lines_and_blocks_are_made_mended_and_taken_out(machine):
    original = "#Port 22\r\nX no\r\nlast ünd `$x` \"'\\"
    source = LabFile("b", b"one\ntwo $(id) 'x'\n")
    machine.converge({"files": {"/root/conf": {"content": original, "mode": "0640"}}})
    machine.run("cp -a /root/conf /root/c; chgrp daemon /root/c")
    system = {
        "lines": {
            "/root/c": {
                "port": {"line": "Port 2222", "match": "^#?Port "},
                "gone": {"line": "X no", "state": "absent"},
                "odd": "it's $HOME \\ `id`",
            },
            "/root/fresh/new": {"a": "b"},
        },
        "blocks": {
            "/root/c": {"lab": {"source": source}},
            "/etc/hosts": {"nas": {"content": "10.9.9.9 nas\n"}},
        },
    }
    conf = {"files": {"/root/conf": {"content": original, "mode": "0640"}}}
    system |= conf
    hosts = machine.run("cat /etc/hosts")
    assert machine.converge(system) == [
        "~ edit /root/c",
        "+ edit /root/fresh/new",
        "~ edit /etc/hosts",
    ]
    made = (
        "Port 2222\r\nlast ünd `$x` \"'\\\r\nit's $HOME \\ `id`\r\n"
        "# BEGIN strata lab\r\none\r\ntwo $(id) 'x'\r\n# END strata lab\r\n"
    )
    assert bytes_of(machine, "/root/c") == made.encode()
    assert machine.run("stat -c '%a %G' /root/c; getent hosts nas; cat /root/fresh/new") == (
        "640 daemon\n10.9.9.9        nas\nb"
    )
    machine.run("sed -i 's/^Port 2222/Port 1/; s/^one/ONE/; 1i mine' /root/c")
    plan = machine.plan(system)
    (change,) = plan.changes
    assert {"-Port 1", "+Port 2222", "-ONE", "+one"} <= {
        line.rstrip("\r") for line in change.fields[0].text.splitlines()
    }
    machine.converge(system)
    after = bytes_of(machine, "/root/c")
    assert b"mine\n" in after
    assert after.replace(b"mine\n", b"", 1) == made.encode()
    less = {**system, "lines": {"/root/c": {"odd": "it's $HOME \\ `id`"}}}
    machine.converge(less)
    machine.run("sed -i '/^mine/d' /root/c")
    machine.converge(conf)
    machine.run("cmp /root/c /root/conf; ! ls /root/fresh/new 2>/dev/null")
    assert machine.run("cat /etc/hosts") == hosts
    machine.run("rm /root/c")


def bytes_of(machine: Any, path: str) -> bytes:
    return bytes.fromhex(machine.run(f"od -An -v -tx1 {path} | tr -d ' \\n'"))


def test_a_crash_between_a_file_and_its_record_loses_nothing(machine):
    machine.run("printf 'a\\nb' >/root/e")
    machine.converge({"lines": {"/root/e": {"one": "1"}}})
    # as if killed right after the file took its place: its record still waits
    machine.run("cd /var/lib/strata; mkdir -p edits.next/root; cp edits/root/e /root/old-record")
    machine.converge({"lines": {"/root/e": {"one": "1", "two": "2"}}})
    machine.run(
        "cd /var/lib/strata; mv edits/root/e edits.next/root/e; mv /root/old-record edits/root/e"
    )
    system = {"lines": {"/root/e": {"one": "1", "two": "2"}}}
    plan = machine.plan(system)
    assert [c.reason for c in plan.changes] == ["a change that was interrupted is recorded"]
    machine.converge(system)
    machine.converge({})
    assert bytes_of(machine, "/root/e") == b"a\nb"
    machine.run("rm /root/e")


# --- services ---

UNIT = """[Unit]
Description=counts
[Service]
ExecStart=/bin/sh -c 'echo start >>/run/counts; exec sleep infinity'
ExecReload=/bin/sh -c 'echo reload >>/run/counts'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def counting(machine) -> Iterator[Callable[[], list[str]]]:
    """What the service counts did since the last call."""

    def counts() -> list[str]:
        return machine.run("cat /run/counts; : >/run/counts").split()

    machine.run("rm -f /run/counts")
    yield counts
    machine.converge({})
    machine.run("rm -f /run/counts; rm -rf /etc/counts")


def counted(content: str = "", other: str = "", unit: str = UNIT, **service: Any) -> dict[str, Any]:
    on = {"reload_on": ["/etc/counts/a"], "restart_on": ["/etc/counts/b"]}
    return {
        "files": {
            "/etc/counts/a": {"content": content},
            "/etc/counts/b": {"content": other},
            "/etc/systemd/system/counts.service": {"content": unit},
        },
        "services": {"counts": {"state": "running", **on, **service}},
    }


def test_a_reload_exactly_once_and_a_restart_beats_it(machine, counting):
    machine.converge(counted())
    assert counting() == ["start"]
    assert machine.converge(counted()) == []
    machine.converge(counted("new"))
    assert counting() == ["reload"]
    assert machine.converge(counted("new")) == []
    machine.converge(counted("newer", "new"))
    assert counting() == ["start"]
    assert machine.converge(counted("newer", "new")) == []
    machine.converge(counted("newer", "newest"))
    assert counting() == ["start"]
    assert machine.converge(counted("newer", "newest")) == []
    assert counting() == []


def test_named_in_both_it_restarts(machine, counting):
    both = {"reload_on": ["/etc/counts/b"], "restart_on": ["/etc/counts/b"]}
    machine.converge(counted(**both))
    counting()
    machine.converge(counted(other="x", **both))
    assert counting() == ["start"]


@pytest.mark.parametrize(
    ("changed", "verb"), [({"content": "x"}, "reload"), ({"other": "x"}, "start")]
)
def test_a_crash_between_a_file_and_its_service_loses_nothing(machine, counting, changed, verb):
    machine.converge(counted())
    counting()
    plan = machine.plan(counted(**changed))
    machine.apply(counted(**changed), Plan(plan.changes[:1]))
    assert counting() == []
    again = machine.converge(counted(**changed))
    assert again == ["~ service counts.service"]
    assert counting() == [verb]


def test_a_changed_unit_file_restarts_its_service_once_and_a_crash_loses_nothing(machine, counting):
    machine.converge(counted())
    counting()
    unit = UNIT.replace("counts\n", "Counts\n", 1)
    machine.converge(counted(unit=unit))
    assert counting() == ["start"]
    plan = machine.plan(counted())
    machine.apply(counted(), Plan(plan.changes[:1]))
    machine.run("systemctl daemon-reload")
    machine.converge(counted())
    assert counting() == ["start"]


def test_a_drop_in_that_goes_restarts_its_service(machine, counting):
    drop_in = "/etc/systemd/system/counts.service.d/x.conf"
    system = counted()
    more = {**system, "files": {**system["files"], drop_in: {"content": "[Service]\nNice=5\n"}}}
    machine.converge(more)
    counting()
    assert machine.converge(system) == [f"- file {drop_in}", "~ service counts.service"]
    assert counting() == ["start"]
    assert machine.run("systemctl show -p Nice --value counts") == "0"


def test_masked_and_back(machine, counting):
    system = counted()
    machine.converge(system)
    machine.run(
        "cd /usr/lib/systemd/system; cp /etc/systemd/system/counts.service twin.service\n"
        "systemctl daemon-reload; systemctl enable -q --now twin"
    )
    masked = {**system, "services": {**system["services"], "twin": {"masked": True}}}
    machine.converge(masked)
    state = "systemctl is-active twin; systemctl is-enabled twin"
    assert machine.run(f"{state} || :").split() == ["inactive", "masked"]
    machine.run("systemctl unmask twin; systemctl start twin")
    plan = machine.plan(masked)
    assert [(f.field, f.before, f.after) for f in plan.changes[0].fields] == [
        ("state", "running", "stopped"),
        ("enabled", True, False),
        ("masked", False, True),
    ]
    machine.converge(masked)
    machine.converge(system)
    assert machine.run(state).split() == ["active", "enabled"]
    machine.run(
        "systemctl disable -q --now twin; rm /usr/lib/systemd/system/twin.service\n"
        "systemctl daemon-reload"
    )


def test_what_was_stopped_runs_again_when_nobody_declares_it(machine):
    assert _active(machine, "cron")
    machine.converge({"services": {"cron": "stopped"}})
    assert not _active(machine, "cron")
    machine.converge({})
    assert _active(machine, "cron")


def _active(machine: Any, unit: str) -> bool:
    return machine.run(f"systemctl is-active {unit} || :") == "active"


def test_a_line_of_sshd_is_tried_under_the_guard_and_goes_again(machine):
    before = bytes_of(machine, "/etc/ssh/sshd_config")
    line = {"line": "ClientAliveInterval 77", "match": "^#?ClientAliveInterval "}
    system = {"lines": {"/etc/ssh/sshd_config": {"alive": line}}}
    plan = machine.plan(system)
    assert [(c.what, c.guarded) for c in plan.changes] == [("edit /etc/ssh/sshd_config", True)]
    machine.converge(system)
    assert machine.run("sshd -T | grep -i clientaliveinterval") == "clientaliveinterval 77"
    machine.converge({})
    assert bytes_of(machine, "/etc/ssh/sshd_config") == before


def test_from_a_whole_file_to_a_line_of_it_under_the_guard(machine):
    path = "/etc/ssh/sshd_config"
    before = bytes_of(machine, path)
    machine.converge({"files": {path: {"content": before.decode() + "# ours\n"}}})
    assert machine.converge({"lines": {path: {"one": "# a line"}}}) == [
        f"~ file {path}",
        f"~ edit {path}",
    ]
    assert bytes_of(machine, path) == before + b"# a line\n"
    machine.converge({})
    assert bytes_of(machine, path) == before

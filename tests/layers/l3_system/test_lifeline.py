"""Which changes can cut us off, what is saved before they are made, and in which order they go."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab.model.plan import Action, Change, FieldDiff
from layers.l3_system.kinds import guard
from layers.l3_system.kinds.kind import Step
from layers.l3_system.kinds.lifeline import Login, blockers, concerns, in_order, lifeline

CASES = yaml.safe_load((Path(__file__).parent / "lifeline.yaml").read_text())
STRATA = Login("strata")


def change(what: str, action: str = "update", fields: tuple[str, ...] = ("content",)) -> Change:
    return Change(Action(action), what, tuple(FieldDiff(f, "a", "b") for f in fields))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['what']} {c.get('fields', '')}")
def test_what_a_change_can_cut(case):
    login = Login(case.get("login", "strata"))
    made = change(case["what"], case.get("action", "update"), tuple(case.get("fields", ("x",))))
    assert sorted(area.value for area in concerns(made, login)) == sorted(case["areas"])


def test_what_can_cut_us_off_is_marked_and_goes_together():
    order = [
        "package curl",
        "file /etc/ssh/sshd_config",
        "file /etc/motd",
        "hostname web1",
        "service docker.service",
        "service ssh.service",
        "service cron.service",
    ]
    changes = in_order([change(w) for w in order], STRATA)
    assert [(c.what, c.guarded) for c in changes] == [
        ("package curl", False),
        ("file /etc/motd", False),
        ("hostname web1", False),
        ("file /etc/ssh/sshd_config", True),
        ("service ssh.service", True),
        ("service docker.service", False),
        ("service cron.service", False),
    ]
    assert all(c.guarded is c.disconnects for c in changes)


def test_where_nothing_can_cut_us_off_nothing_moves():
    changes = tuple(change(w) for w in ("service docker.service", "file /etc/motd"))
    assert in_order(changes, STRATA) == changes


def test_what_goes_may_wait_and_what_stops_goes_first():
    changes = in_order(
        [
            change("file /etc/ssh/a", "delete"),
            change("service app.service", "delete"),
            change("file /etc/ssh/b", "create"),
        ],
        STRATA,
    )
    assert [c.what for c in changes] == [
        "service app.service",
        "file /etc/ssh/a",
        "file /etc/ssh/b",
    ]


@pytest.mark.parametrize(
    ("what", "login", "refused"),
    [
        ("user strata", "strata", True),
        ("user ops", "strata", False),
        ("package openssh-server", "root", True),
        ("package sudo", "strata", True),
        ("package sudo", "root", False),
        ("package curl", "strata", False),
    ],
)
def test_what_no_timer_could_undo_is_refused(what, login, refused):
    found = blockers([change(what, "delete")], Login(login))
    assert [b.what for b in found] == ([what] if refused else [])


def test_a_file_is_saved_with_our_own_records_of_it():
    line = lifeline([change("file /etc/ssh/sshd_config.d/x.conf", "create")], STRATA)
    assert {
        "/etc/ssh/sshd_config.d/x.conf",
        "/var/lib/strata/originals/etc/ssh/sshd_config.d/x.conf",
        "/var/lib/strata/owned",
        "/etc/systemd/system",
    } == set(line.trees)
    assert "ssh.service" in line.units
    assert "systemd-networkd.service" not in line.units


def test_an_account_is_saved_with_its_keys_and_every_file_that_names_it():
    line = lifeline([change("user ops", fields=("shell",))], Login("ops", "/srv/ops"))
    assert {"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/srv/ops/.ssh"} <= set(
        line.trees
    )


def test_a_folder_is_saved_without_what_lies_in_it():
    line = lifeline([change("directory /home/strata", fields=("mode",))], STRATA)
    assert line.plain == ("/home/strata",)
    assert "/home/strata" not in line.trees


def test_a_virtual_interface_that_changes_is_made_anew_and_a_new_one_is_not():
    old = lifeline([change("file /etc/systemd/network/05-strata-br0.netdev")], STRATA)
    new = lifeline([change("file /etc/systemd/network/05-strata-br0.netdev", "create")], STRATA)
    assert (old.links, new.links) == (("br0",), ())
    assert "for n in br0;" in guard.live(old)


@pytest.mark.parametrize(
    ("what", "has", "has_not"),
    [
        ("file /etc/ssh/sshd_config", "sshd -t", "networkctl"),
        ("file /etc/sudoers", "visudo", "sshd -t"),
        ("file /etc/netplan/a.yaml", "networkctl reload", "sshd -t"),
        ("firewall nftables", "nft -c", "sshd -t"),
    ],
)
def test_what_is_changed_bites_at_once(what, has, has_not):
    line = lifeline([change(what)], STRATA)
    script = "".join(step.script for step in guard.whole([Step((change(what),), "true")], line))
    assert has in script
    assert has_not not in script


def test_what_is_written_is_checked_before_a_program_starts_with_it():
    made = [
        Step((change(w),), "true") for w in ("file /etc/ssh/sshd_config", "service ssh.service")
    ]
    line = lifeline([c for step in made for c in step.changes], STRATA)
    kinds = [s.changes[0].what.split()[0] if s.changes else "-" for s in guard.whole(made, line)]
    assert kinds == ["file", "-", "service", "-"]


def test_times_are_seconds_since_boot():
    script = guard.arming("0" * 24, 60, lifeline([change("firewall nftables")], STRATA))
    assert "/proc/uptime" in script
    assert "--on-active=60 " in script
    assert "date" not in script.replace("update", "")

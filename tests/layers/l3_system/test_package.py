"""What is looked at and run for packages: strings, compared as strings."""

from __future__ import annotations

from typing import Any

from lab.model.plan import Action, Change, FieldDiff
from layers.l3_system.kinds import apt, package
from layers.l3_system.kinds.kind import Section, Wanted
from layers.l3_system.kinds.script import applying

INSTALLED = FieldDiff("state", None, "installed")
ANY = Wanted({"state": "installed"})


def _script(*changes: Change, **wanted: Wanted) -> str:
    (step,) = package.steps(changes, wanted)
    assert step.changes == changes
    return step.script


def _create(name: str, *more: FieldDiff) -> Change:
    return Change(Action.CREATE, f"package {name}", (INSTALLED, *more))


def _lists(script: str) -> dict[str, str]:
    """The lists that the transaction is given."""
    names = {"wanted", "go", "fade", "purge", "hold", "unhold"}
    pairs = (line.partition("=") for line in script.splitlines())
    return {n: v.strip("'") for n, _, v in pairs if n in names and v.strip("'")}


def test_all_that_come_and_go_are_one_transaction_recorded_before_it():
    removed = Change(Action.DELETE, "package old", (FieldDiff("state", "installed", None),))
    absent = Change(Action.DELETE, "package exim4", (FieldDiff("state", "installed", None),))
    script = _script(
        removed,
        _create("curl"),
        _create("git", FieldDiff("version", None, "1:2*"), FieldDiff("hold", None, True)),
        absent,
        curl=ANY,
        git=Wanted({"state": "installed", "version": "1:2*", "hold": True}),
        exim4=Wanted({"state": "absent"}, absent=True),
    )
    assert _lists(script) == {
        "wanted": "curl git=1:2*",
        "go": "exim4",
        "fade": "old",
        "hold": "git",
    }
    assert script.index("\ntransaction\n") < script.index("disown 'package old'")
    assert "disown 'package exim4'" in script


def test_what_comes_is_recorded_before_it_does():
    steps = package.steps([_create("curl"), _create("git")], {"curl": ANY, "git": ANY})
    text, _ = applying("n", steps)
    assert text.index("intend 0 'package git' ''") < text.index("\ntransaction\n")


def test_what_is_finished_is_not_recorded_as_ours():
    half = Change(
        Action.UPDATE, "package curl", (FieldDiff("state", "half-configured", "installed"),)
    )
    assert "own 'package" not in _script(half, curl=ANY)
    (step,) = package.steps([half], {"curl": ANY})
    assert step.makes == ()


def test_a_foreign_package_that_is_held_is_recorded_as_it_was():
    held = Change(Action.UPDATE, "package curl", (FieldDiff("hold", False, True),))
    script = _script(held, curl=Wanted({"state": "installed", "hold": True}))
    assert "own 'package curl' found\n" in script
    assert _lists(script) == {"hold": "curl"}


def test_what_is_purged_after_its_removal_needs_no_removal():
    rest = Change(Action.DELETE, "package exim4", (FieldDiff("state", "removed", None),))
    wanted = Wanted({"state": "absent"}, absent=True, more={"purge": True})
    assert _lists(_script(rest, exim4=wanted)) == {"purge": "exim4"}


def test_what_is_gone_already_is_only_forgotten():
    assert _script(Change(Action.DELETE, "package no-such")) == "disown 'package no-such'"


def test_installing_never_removes():
    script = _script(_create("curl"), curl=ANY)
    assert "none=--no-remove" in script
    assert "--no-install-recommends" in script
    assert "DPkg::Lock::Timeout" in script


def test_what_was_interrupted_is_finished_first():
    broken = Change(Action.UPDATE, "package database", (FieldDiff("state", "x unpacked", "whole"),))
    script = _script(broken, _create("curl"), curl=ANY)
    assert script.index("--fix-broken") < script.index("\ntransaction\n")
    assert _lists(script) == {"wanted": "curl"}
    assert "--fix-broken" not in _script(_create("curl"), curl=ANY)


STATUS = """\
curl\tamd64\tinstall ok installed\t8.1-2
dpkg\tamd64\tinstall ok installed\t1.22
libc6\tamd64\tinstall ok installed\t2.41-1
libc6\ti386\thold ok installed\t2.41-2
exim4\tall\tdeinstall ok config-files\t4.9
tea\tall\tinstall ok half-configured\t1
pot\tall\tinstall reinstreq half-installed\t1
"""
POLICY = """\
jq:
  Installed: (none)
  Candidate: 1.7-6
  Version table:
     1.8-1 100
        100 http://deb.lan/debian sid/main amd64 Packages
     1.7-6 500
        500 http://deb.lan/debian trixie/main amd64 Packages
tea:
  Installed: 1
  Candidate: (none)
  Version table:
 *** 1 100
        100 /var/lib/dpkg/status
"""


def _parsed(status: str, asked: str, policy: str = "") -> dict[str, Any]:
    sections = [Section(("dpkg", *asked.split()), status.encode())]
    if policy:
        sections.append(Section(("offers",), policy.encode()))
    return apt.parse(sections)


def test_what_dpkg_holds_is_read_by_the_names_that_were_asked():
    found = _parsed(STATUS, "curl curl:amd64 libc6 libc6:i386 exim4 tea none")
    states = {n: t.fields["state"] for n, t in found.items() if n != "database"}
    assert states == {
        "curl": "installed",
        "curl:amd64": "installed",
        "libc6": "installed",
        "libc6:i386": "installed",
        "exim4": "removed",
        "tea": "half-configured",
    }
    assert found["libc6"].facts == {"version": "2.41-1", "hold": False}
    assert found["libc6:i386"].facts == {"version": "2.41-2", "hold": True}
    assert found["database"].fields["state"] == "pot half-installed, tea half-configured"


def test_updates_that_dpkg_has_not_merged_are_an_interruption():
    assert _parsed("dpkg\tamd64\tinstall ok installed\t1\n!\n", "")["database"].fields == {
        "state": "dpkg interrupted"
    }


def test_the_versions_on_offer_begin_with_the_candidate():
    found = _parsed(STATUS + "? jq tea\n", "jq tea", POLICY)
    assert found["database"].facts["offers"] == {"jq": ["1.7-6", "1.8-1", "1.7-6"], "tea": ["1"]}


def test_another_family_is_unknown():
    assert apt.parse([Section(("unknown",), b"")])[""].facts == {"unknown": True}


def test_what_a_pin_asks_for_is_told_to_awk_without_a_backslash():
    script = apt.probe({"nginx": "1.2?+a~b-1*", "curl": ""})
    assert "nginx=^1[.]2.[+]a[~]b[-]1.*$ curl=^.*$" in script

"""`lab plan --against`: the plan of a branch, as Markdown."""

import json

import pytest


@pytest.fixture
def home(lab):
    """A branch with an edit, in a checkout."""
    lab.git("switch", "-q", "-c", "idea")
    return lab


def against(lab, *words, ok=(0, 2)):
    return lab.lab("plan", "--against", *(words or ("main",)), "--quiet", ok=ok).stdout


def test_only_the_touched_hosts_are_planned(home):
    home.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = against(home)
    assert shown.startswith("### 2 hosts touched: web1, web2\n")
    assert "1 other as before" in shown
    assert "+ package htop" in shown
    assert "db1" not in shown


def test_nothing_touched_is_said_so(home):
    home.edit("personas/web.yaml", "purpose", "# why\npurpose")
    assert against(home, ok=(0,)).startswith("### No host is touched\n")


def test_what_is_lost_stands_outside_of_the_details(home):
    home.edit("personas/web.yaml", "base: debian-13", "base: debian-13, packages: [vim]")
    shown = against(home)
    caution = shown.index("> [!CAUTION]")
    assert caution < shown.index("```text")
    assert "> - **web1** loses root disk" in shown


def test_a_host_that_is_removed_is_told_with_what_would_delete_it(home):
    home.edit("inventory/hosts.yaml", "  db1: {persona: db, provider: box}\n", "")
    assert "(`lab destroy host=db1`)" in against(home)


def test_a_selector_narrows_it_down(home):
    home.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    assert against(home, "main", "host=db1", ok=(0,)).startswith("### No host is touched")


def test_a_commit_that_is_not_there_is_told(home):
    done = home.lab("plan", "--against", "origin/nothing", ok=(3,))
    assert "there is no commit 'origin/nothing'" in done.stderr


def test_against_a_commit_that_was_no_lab_every_host_counts(home):
    home.git("checkout", "-q", "--orphan", "empty")
    home.git("rm", "-rqf", "--cached", ".")
    home.git("commit", "-q", "--allow-empty", "-m", "nothing")
    home.git("add", "-A")
    assert "every host counts as new" in against(home, "HEAD")


def test_json_is_the_report(home):
    home.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    last = json.loads(
        home.lab("plan", "--against", "main", "--json", ok=(2,)).stdout.splitlines()[-1]
    )
    assert {p["host"] for p in last["parts"] if p["host"]} == {"web1", "web2"}

"""The commit that each host was last brought to, whoever did it."""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def commits(clone):
    """As `lab status`, `lab gitops status` and the hosts themselves say it."""
    status = json.loads(clone.lab("status", "--json", ok=(0, 2)).stdout)["hosts"]
    said = {h["host"]: h["commit"] for h in status}
    pushed = json.loads(clone.lab("gitops", "status", "--json").stdout)["hosts"]
    assert {h: s["commit"] for h, s in pushed.items()} == said
    folder = Path(os.environ["XDG_STATE_HOME"], "strata/home/memory/l3_system")
    there = {h: json.loads((folder / f"{h}+.json").read_text()).get("commit") for h in said}
    assert there == said
    return said


def test_each_host_has_the_commit_that_touched_it_last(lab):
    first = lab.newest().commit[:12]
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.pushed()
    second = lab.newest().commit[:12]
    assert commits(lab) == {"web1": second, "web2": second, "db1": first}
    shown = lab.lab("gitops", "status").stdout
    assert f"db1   {first}\n" in shown
    assert f"web2  {second}\n" in shown


def test_a_plain_converge_records_too_and_a_dirty_checkout_is_seen(lab):
    first = lab.newest().commit[:12]
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.lab("converge", "host=web1", "--yes")
    assert commits(lab) == {"web1": f"{first}+", "web2": first, "db1": first}
    second = lab.commit()[:12]
    again = lab.lab("converge", "host=web1", "--yes")
    assert "0 changes" in again.stdout or "as declared" in again.stdout
    assert commits(lab)["web1"] == second


def test_a_run_that_does_not_reach_the_top_or_fails_records_nothing(lab):
    first = lab.newest().commit[:12]
    lab.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    lab.commit()
    lab.lab("converge", "l3", "host=web1", "--yes")
    assert commits(lab)["web1"] == first
    lab.edit("personas/web.yaml", "base: debian-13", "base: debian-13, packages: [vim]")
    lab.commit()
    lab.lab("converge", "host=web1", "--yes", ok=(5,))
    assert commits(lab)["web1"] == first


def test_a_host_that_was_destroyed_has_none(lab):
    lab.lab("destroy", "host=db1", "--yes", "--confirm", "db1")
    status = json.loads(lab.lab("status", "--json", ok=(0, 2)).stdout)["hosts"]
    assert {h["host"]: h["commit"] for h in status}["db1"] is None


def test_files_in_no_repository_take_the_record_back(lab):
    (lab.root / ".git").rename(lab.base / "away")
    lab.lab("converge", "host=web1", "--yes")
    status = json.loads(lab.lab("status", "--json", ok=(0, 2)).stdout)["hosts"]
    assert {h["host"]: h["commit"] for h in status}["web1"] is None

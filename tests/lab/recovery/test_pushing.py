"""The push route on this machine: the same captures as by the other one, and who is refused."""

import os
import subprocess

import pytest

from lab.clients.shell import Endpoint
from lab.errors import DriverError
from lab.model.dataset import DataSet
from lab.model.outcome import ExitCode
from lab.recovery import pushing, reading
from lab.recovery.onhost import Looked

POINTS = ["push.opened", "push.pushing", "push.pushed", "push.admitted", "push.read"]


def keys_of(made):
    return sorted(p.name for p in (made.store / "keys").iterdir())


def test_a_pushed_capture_is_the_same_as_a_pulled_one(here):
    made = here()
    assert made.capture().exit_code is ExitCode.OK
    keys = keys_of(made)
    persona = made.root / "personas/p.yaml"
    persona.write_text(persona.read_text().replace("]}}", "], route: push}}"))
    report = made.capture()
    assert report.exit_code is ExitCode.OK, [p.failure for p in report.run.parts]
    with made.lab() as lab:
        repository = lab.captures.repository
        new, old = lab.captures.listing().of("me", "things", good=True)
        assert new.root
        assert (new.files, new.size) == (old.files, old.size)
        manifests = [reading.verified(repository, c) for c in (new, old)]
        assert lab.captures.verify(lab.select(), ["things"]).exit_code is ExitCode.OK
    assert {m.streams[0].size for m in manifests} == {manifests[0].streams[0].size}
    assert keys_of(made) == keys, "the key of that push is gone"
    assert list((made.store / "locks").iterdir()) == []
    with made.lab() as lab:
        assert list((lab.workspace.state / "doors").iterdir()) == []


def test_what_did_not_change_is_not_sent_again(here):
    made = here(", route: push")
    (made.data / "big").write_bytes(os.urandom(24 << 20))
    assert made.capture().exit_code is ExitCode.OK
    before = sum(p.stat().st_size for p in made.store.rglob("*") if p.is_file())
    (made.data / "small").write_bytes(b"x" * 1000)
    assert made.capture().exit_code is ExitCode.OK
    after = sum(p.stat().st_size for p in made.store.rglob("*") if p.is_file())
    assert after - before < 10 << 20, "at most the one piece (8 MiB and less) at its end"


@pytest.mark.slow
def test_pushes_that_are_killed_anywhere_count_for_nothing_and_the_same_again_is_whole(here):
    after = here().data.parent / "after"
    made = here(f", route: push, quiesce: {{before: 'true', after: 'touch {after}'}}")
    assert made.capture().exit_code is ExitCode.OK
    keys = keys_of(made)
    for point in POINTS:
        after.unlink(missing_ok=True)
        done = made.run("capture", "host=me", "data=things", fault=point)
        assert done.returncode == -9, f"{point} did not happen"
        assert len(made.listing().captures) == 1
        if point != "push.opened":
            wait = f"until [ -e {after} ]; do sleep 0.1; done"
            subprocess.run(["timeout", "20", "sh", "-c", wait], check=True)
    again = made.run("capture", "host=me", "data=things")
    assert again.returncode == 0, again.stderr
    assert len(made.listing().captures) == 2
    assert keys_of(made) == keys
    assert made.run("captures", "verify", "data=things").returncode == 0


def test_what_the_source_refuses_is_no_capture(here):
    made = here(
        ", route: push, quiesce: {before: 'echo the disk sleeps >&2; exit 3', after: 'true'}"
    )
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    (failure,) = [p.failure for p in report.run.parts]
    assert "the command before the reading failed: the disk sleeps" in failure.message
    assert made.listing().captures == ()
    assert made.listing().unfinished == ()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ((), "it has no restic; 0.17 or newer is needed"),
        ((0, 14, 0), "its restic is 0.14.0; 0.17 or newer is needed"),
    ],
)
def test_a_host_whose_restic_is_missing_or_too_old_is_told(here, found, why):
    made = here(", route: push")
    with made.lab() as lab:
        repository = lab.captures.repository
        one, look = DataSet("things", ("/x",), route="push"), Looked("1.34", (), (), 5, found)
        with pytest.raises(DriverError, match=why) as refused:
            pushing.by_push(repository, one, look, Endpoint("me", "local"))
    assert "route: pull" in refused.value.hint


def test_auto_pushes_what_is_large_where_it_can(here):
    made = here()
    with made.lab() as lab:
        repository = lab.captures.repository
    near = Endpoint("me", "local")

    def chosen(size, restic, route="auto", endpoint=near):
        one = DataSet("things", ("/x",), route=route)
        return pushing.by_push(repository, one, Looked("1", (), (), size, restic), endpoint)

    assert chosen(pushing.LARGE, (0, 18, 0))
    assert not chosen(pushing.LARGE - 1, (0, 18, 0))
    assert not chosen(pushing.LARGE, ())
    assert not chosen(pushing.LARGE, (0, 18, 0), endpoint=Endpoint("me", "container"))
    assert not chosen(pushing.LARGE, (0, 18, 0), route="")
    with pytest.raises(DriverError, match="not reached by ssh"):
        chosen(1, (0, 18, 0), route="push", endpoint=Endpoint("me", "container"))


def test_a_store_of_a_kind_that_nobody_reaches_has_no_door(here):
    made = here(", route: push")
    text = (made.root / "lab.yaml").read_text()
    (made.root / "lab.yaml").write_text(text.replace(f"url: {made.store}", "url: 'azure:box:/x'"))
    what = "azure:box:/x is of a kind for which there is no door"
    with made.lab() as lab, pytest.raises(DriverError, match=what):
        pushing.by_push(
                lab.captures.repository, DataSet("x", ("/x",), route="push"),
                Looked("1", (), (), 1, (0, 18, 0)), Endpoint("me", "local"),
            )  # fmt: skip


def test_a_snapshot_that_claims_to_be_another_hosts_is_thrown_out(here, monkeypatch):
    """A host that was taken over, and leaves what looks like a capture of somebody else."""
    made = here(", route: push")
    assert made.capture().exit_code is ExitCode.OK
    whole = pushing.onhost.pushed

    def forged(script, socket, environment, words):
        return whole(script, socket, environment, [w.replace("host=me", "host=db1") for w in words])

    monkeypatch.setattr(pushing.onhost, "pushed", forged)
    before = sorted(p.name for p in (made.store / "snapshots").iterdir())
    report = made.capture()
    assert report.exit_code is ExitCode.FAILED
    assert "not called as it was told to" in report.run.parts[0].failure.message
    assert sorted(p.name for p in (made.store / "snapshots").iterdir()) == before

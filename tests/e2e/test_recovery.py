"""The example's web1 as a container: its disk is lost, nothing starts on nothing."""

import os
import urllib.request

import pytest

from lab.clients import restic

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(scope="module")
def web(tmp_path_factory, sandbox, real_lab):
    if (restic.version() or (0,)) < restic.OLDEST:
        pytest.skip("needs restic 0.17 or newer: sudo tools/install-restic")
    sandbox.template("docker")
    lab = real_lab(tmp_path_factory.mktemp("recovery"), f"rec{os.getpid()}")
    lab.env["XDG_CONFIG_HOME"] = str(lab.base / "config")
    lab.write(
        "lab.yaml",
        f"name: {lab.name}\nproviders:\n"
        f"  box: {{kind: docker, host: '{sandbox.engine}'}}\nvars: {{motd_owner: a test}}\n"
        f"capture: {{repository: {{url: {lab.base}/store, password: !secret restic}}}}\n",
    )
    lab.lab("secrets", "init")
    lab.lab("secrets", "generate", "restic")
    lab.converge()
    yield lab
    lab.lab("destroy", "--all", "--with-data", "--yes", "--no-input", "--confirm", "web1")


def page(lab):
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.port}/", timeout=5) as response:
        return response.read().decode()


def sh(web, sandbox, script):
    return sandbox.docker("exec", f"strata-{web.name}-web1", "sh", "-ec", script)


def lose_everything(web, sandbox):
    sandbox.docker("rm", "--force", "--volumes", f"strata-{web.name}-web1")
    sandbox.docker("volume", "rm", f"strata-{web.name}-web1-data")


def test_marks_are_no_drift_and_no_entropy(web, sandbox):
    assert '"standing": "fresh"' in sh(web, sandbox, "cat /srv/.strata/standing/*.json")
    assert web.planned(ok=(0,)) == []
    assert ".strata" not in web.lab("entropy", "host=web1", "--json", ok=(0, 2)).stdout


def test_a_lost_disk_is_never_started_on_and_restored_by_one_command(web, sandbox):
    sh(web, sandbox, "echo kept > /srv/start/note.txt; chown 33:33 /srv/start/note.txt")
    web.lab("capture", "host=web1")
    lose_everything(web, sandbox)
    report = web.report("converge", "host=web1", "--yes", "--no-input", ok=(1, 5))
    (blocked,) = [p for p in report["parts"] if p["outcome"] == "blocked"]
    assert "/srv/start is empty, and there are captures of it" in str(blocked)
    assert sandbox.docker("exec", f"strata-{web.name}-web1", "docker", "ps", "-q") == ""
    web.lab("restore", "host=web1", "--yes", "--no-input")
    assert "Welcome" in page(web)
    assert (
        sh(web, sandbox, "cat /srv/start/note.txt; stat -c %u /srv/start/note.txt") == "kept\n33\n"
    )
    assert web.planned(ok=(0,)) == []


def test_data_is_swapped_under_a_running_workload(web, sandbox):
    sh(web, sandbox, "echo spoiled > /srv/start/note.txt")
    refused = web.lab("restore", "host=web1", "--yes", "--no-input", ok=(5,))
    assert "--confirm web1" in refused.stderr
    web.lab("restore", "host=web1", "--yes", "--confirm", "web1")
    assert sh(web, sandbox, "cat /srv/start/note.txt") == "kept\n"
    assert "Welcome" in page(web)
    assert web.planned(ok=(0,)) == []


def test_rebuilt_with_and_without_its_disk(web, sandbox):
    key = web.handed()["host_key"]
    for lost in (False, True):
        if lost:
            lose_everything(web, sandbox)
        web.lab("rebuild", "host=web1", "--yes", "--confirm", "web1")
        assert sh(web, sandbox, "cat /srv/start/note.txt") == "kept\n"
        assert "Welcome" in page(web)
        assert web.planned(ok=(0,)) == []
        assert web.handed()["host_key"] == key


def test_a_drill_of_a_host_with_a_workload(web):
    web.lab("drill", "host=web1", ok=(0,))

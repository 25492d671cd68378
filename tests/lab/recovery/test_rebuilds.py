"""Rebuild, for real: sandbox hosts with data on a durable disk and on the OS disk."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Approval, Lab

pytestmark = [pytest.mark.engine, pytest.mark.slow]
STEPS = ("runway", "capture", "verify", "replace", "identity", "system", "standing", "workloads",
         "health", "again")  # fmt: skip


@dataclass
class Real:
    """A lab of one container, ``keep``."""

    root: Path
    env: dict
    engine: str
    name: str

    def lab(self):
        return Lab.load(self.root)

    def run(self, *words, fault="", ok=(0,)):
        env = {**os.environ, "STRATA_FAULT": fault}
        argv = [sys.executable, "-m", "lab.cli", *words, "--lab", str(self.root)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode in ok, done.stdout + done.stderr
        return done.stdout

    def docker(self, *words):
        argv = ["docker", "--host", self.engine, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def sh(self, script):
        return self.docker("exec", f"strata-{self.name}-keep", "sh", "-ec", script)

    def roots(self):
        """Set of data to its newest capture's Merkle root."""
        with self.lab() as lab:
            found = lab.captures.listing()
            return {n: found.of("keep", n, good=True)[0].root for n in ("photos", "notes")}

    def seen(self):
        with self.lab() as lab:
            report = lab.plan("host=keep")
            return report.exit_code, report.handed["keep"]["host_key"]


@pytest.fixture(scope="module")
def real(tmp_path_factory, sandbox, keys):
    sandbox.template("plain")
    base = tmp_path_factory.mktemp("rebuild")
    name = f"rb{os.getpid()}"
    with pytest.MonkeyPatch.context() as patch:
        for folder in ("STATE", "CACHE"):
            patch.setenv(f"XDG_{folder}_HOME", str(base / folder.lower()))
        patch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
        patch.setenv("XDG_CONFIG_HOME", str(keys))
        made = Real(base / "lab", {}, sandbox.engine, name)
        shutil.copytree(keys / "lab/secrets", made.root / "secrets")
        files = {
            "lab.yaml": f"name: {name}\nproviders: {{box: {{kind: docker, host: "
            f"'{sandbox.engine}'}}}}\n"
            f"capture: {{repository: {{url: {base}/store, password: !secret restic}}}}\n",
            "personas/keep.yaml": (sandbox.root / "personas/plain.yaml")
            .read_text()
            .split("machine")[0]
            + "machine:\n  memory: 1GiB\n"
            "  disks: {root: {size: 8GiB}, data: {size: 1GiB, mount: /srv, durable: true}}\n"
            "system: {files: {/etc/motd: {content: 'kept by rebuild\n'}}}\n"
            "data: {photos: {paths: [/srv/photos]}, notes: {paths: [/var/lib/notes]}}\n",
            "inventory/hosts.yaml": "hosts: {keep: {persona: keep, provider: box}}\n",
        }
        shutil.copytree(keys / "quick-store", base / "store")
        for path, text in files.items():
            (made.root / path).parent.mkdir(parents=True, exist_ok=True)
            (made.root / path).write_text(text)
        for path in (keys / "lab").iterdir():
            if path.name.startswith(".") and path.is_file():
                shutil.copy(path, made.root)
        with made.lab() as lab:
            report = lab.converge()
            assert report.exit_code == 0, [p.failure for p in report.parts if p.failure]
        made.sh(
            "mkdir -p /srv/photos/2025 /var/lib/notes; cd /srv/photos/2025;"
            " for n in 1 2 3 4 5; do head -c 200000 /dev/urandom > $n.jpg; done;"
            " echo remember > /var/lib/notes/a; chown 1000:33 /var/lib/notes/a"
        )
        yield made
        with made.lab() as lab:
            everything = Approval(allow_destroy=True, confirmed=frozenset({"keep"}))
            lab.destroy(approval=everything, with_data=True)


WORDS = ("rebuild", "host=keep", "--yes", "--confirm", "keep")


@pytest.fixture(autouse=True)
def _folders(real, monkeypatch, keys):
    base = real.root.parent
    for folder in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{folder}_HOME", str(base / folder.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(keys))


def container(real):
    return real.docker("inspect", "-f", "{{.Id}}", f"strata-{real.name}-keep").strip()


def test_a_rebuild_replaces_the_machine_and_keeps_every_byte(real):
    _, key = real.seen()
    before = container(real)
    assert real.run("rebuild", "host=keep", "--no-input", ok=(5,)) is not None
    assert container(real) == before, "nobody typed the name"
    told = json.loads(real.run(*WORDS, "--json"))
    assert all(s["seconds"] is not None for s in told["steps"])
    assert container(real) != before
    code, after = real.seen()
    assert (code, after) == (0, key)
    with real.lab() as lab:
        found = lab.captures.listing()
    for name in ("photos", "notes"):
        last, *older = found.of("keep", name, good=True)
        assert {c.root for c in older} == {last.root}
    assert "restored" in told["notes"]["keep notes"]
    assert "keep photos" not in told["notes"], "the durable disk was kept"


def test_without_a_verified_capture_the_loss_must_be_typed(real):
    real.run("capture", "host=keep")
    shutil.move(real.root.parent / "store", real.root.parent / "away")
    try:
        before = container(real)
        told = json.loads(real.run(*WORDS, "--json", ok=(5,)))
        assert "--lose keep/" in told["failures"][0]["hint"]
        assert container(real) == before
    finally:
        shutil.rmtree(real.root.parent / "store", ignore_errors=True)
        shutil.move(real.root.parent / "away", real.root.parent / "store")


def test_the_durable_disk_is_lost_and_comes_back(real):
    """Goes on with the rebuild that was refused, where that ran before."""
    real.run("capture", "host=keep")
    roots = real.roots()
    real.docker("rm", "--force", f"strata-{real.name}-keep")
    real.docker("volume", "rm", f"strata-{real.name}-keep-data")
    told = json.loads(real.run(*WORDS, "--json"))
    assert {"keep photos", "keep notes"} <= told["notes"].keys()
    assert real.roots() == roots
    assert real.seen()[0] == 0


def test_a_drill_proves_it_in_a_twin_that_reaches_nothing(real):
    real.run("capture", "host=keep")
    before = container(real)
    real.run("drill", "host=keep", fault="drill.restored", ok=(-9,))
    twin = real.docker("ps", "--format", "{{.Names}}", "--filter", "name=strata-drill-").strip()
    addresses = [f"strata-{real.name}-keep", twin]
    words = ("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}")
    (of_lab, of_twin) = (real.docker(*words, name).strip() for name in addresses)
    for there, heard in ((of_twin, "0"), (of_lab, "1")):
        said = f"timeout 3 bash -c '</dev/tcp/{there}/22' 2>/dev/null; [ $? = 0 ]; echo $?"
        assert real.docker("exec", twin, "sh", "-c", said).strip() == heard, there
    told = json.loads(real.run("drill", "host=keep", "--json"))
    (drill,) = told["drills"]
    assert drill["proved"]
    assert {r["data"] for r in drill["restored"]} == {"photos", "notes"}
    assert {r["compared"] for r in drill["restored"]} == {"every file, also after all was healthy"}
    assert {"machine", "system", "data", "workloads", "health"} <= drill["steps"].keys()
    assert 0 < drill["rto"] < 120
    assert 0 < drill["rpo"] < 600
    assert "Drill of keep: proved" in Path(told["files"][0]).with_suffix(".md").read_text()
    gone = ("ps", "--all", "--quiet", "--filter", "name=strata-drill-")
    assert real.docker(*gone) == real.docker("network", "ls", "-q", "--filter", "name=drill") == ""
    assert real.docker("volume", "ls", "-q", "--filter", "name=drill") == ""
    assert container(real) == before
    status = json.loads(real.run("status", "--json", ok=(0, 2)))
    assert status["hosts"][0]["drill"]["proved"]


def test_a_drill_without_a_capture_is_no_proof(real):
    path = real.root / "personas/keep.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("notes: {", "other: {paths: [/var/lib/other]}, notes: {"))
    try:
        (drill,) = json.loads(real.run("drill", "host=keep", "--json", ok=(1,)))["drills"]
    finally:
        path.write_text(whole)
    assert not drill["proved"]
    assert "set other: it has no good capture" in drill["missing"]


def test_killed_before_and_after_every_step_the_same_command_goes_on(real):
    """One rebuild, and 20 processes that were killed at it."""
    real.run("capture", "host=keep")
    roots, before = real.roots(), container(real)
    for step in STEPS:
        for when in ("before", "after"):
            real.run(*WORDS, fault=f"rebuild.{when}_{step}", ok=(-9,))
    planned = json.loads(real.run("rebuild", "host=keep", "--plan", "--json", ok=(2,)))
    assert [s["step"] for s in planned["steps"] if s["seconds"] is None] == ["again"]
    real.run("rebuild", "host=keep", "--yes", "--no-input")
    assert real.roots() == roots
    assert container(real) != before
    assert real.seen()[0] == 0


def test_the_runner_is_lost_and_git_key_and_captures_bring_all_of_it_back(real, keys, tmp_path):
    real.run("capture", "host=keep")
    roots, (_, key) = real.roots(), real.seen()
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(real.root)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    seeds = json.loads(real.run("seed", "--json"))["seeds"]
    assert [s["what"] for s in seeds] == ["the git repository", "an age key", "the captures"]
    (key_file,) = keys.rglob("keys.txt")
    for turn in range(2):  # and once more on the machine below: F40
        lose_the_runner(real, key_file, real.root.with_suffix(f".lost{turn}"))
        told = json.loads(real.run(*WORDS, "--json"))
        assert all(s["seconds"] is not None for s in told["steps"])
        assert real.roots() == roots
        assert real.seen() == (0, key)


def lose_the_runner(real, key_file, away):
    """Nothing is left but what a seed names; then a new one is made of it."""
    real.docker("rm", "--force", f"strata-{real.name}-keep")
    real.docker("volume", "rm", f"strata-{real.name}-keep-data")
    real.root.rename(away)
    shutil.rmtree(real.root.parent / "state")
    words = ("bootstrap", "--from", str(away), "--key", str(key_file), "--into", str(real.root))
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", *words, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["captures"] > 3

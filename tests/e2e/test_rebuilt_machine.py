"""Recovery of a real virtual machine, end to end: one web1 that loses one thing after the other.

Killed; rebuilt with its data disk; deleted; the disk lost; drilled in a twin that reaches nothing;
the runner lost. The tests build upon each other, in order.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from lab.clients import restic

pytestmark = [pytest.mark.vm, pytest.mark.slow]
WORDS = ("rebuild", "host=web1", "--yes", "--no-input", "--confirm", "web1")
WRITTEN = """
mkdir -p /srv/start/deep/er; cd /srv/start/deep
for n in $(seq 40); do head -c 50000 /dev/urandom > $n.bin; done
echo precious > er/canary; chown -R 1234:4321 er; chmod 640 er/canary; ln -s ../1.bin er/link
"""
HELD = "cd /srv/start && find . -print0 | sort -z | xargs -0 stat -c '%n %a %u %g' && \
find . -type f -print0 | sort -z | xargs -0 sha256sum"


@pytest.fixture(scope="module")
def web(tmp_path_factory, template, real_lab):
    if (restic.version() or (0,)) < restic.OLDEST:
        pytest.skip("needs restic 0.17 or newer: sudo tools/install-restic")
    lab = real_lab(tmp_path_factory.mktemp("recovery"), f"rec{os.getpid()}")
    lab.env |= {"XDG_CONFIG_HOME": str(lab.base / "config"), "HOME": str(lab.base)}
    lend_template(lab, template)
    lab.write(
        "lab.yaml",
        f"name: {lab.name}\nproviders:\n  box: {{kind: qemu, boot_deadline: 9m}}\n"
        "vars: {motd_owner: a test}\n"
        f"capture: {{repository: {{url: {lab.base}/store, password: !secret restic}}}}\n",
    )
    lab.lab("secrets", "init")
    lab.lab("secrets", "generate", "restic")
    try:
        lab.converge()
        lab.ssh(WRITTEN)
        yield lab
    finally:
        for pid in lab.qemu():
            os.kill(pid, signal.SIGKILL)


def lend_template(lab, template):
    """What an earlier test built; the drill shares it in the same way."""
    place = lab.state / "images" / template.parent.name
    ignored = shutil.ignore_patterns("users")
    shutil.copytree(template.parent, place, copy_function=os.link, ignore=ignored)


def page(lab):
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.port}/", timeout=30) as response:
        return response.read().decode()


def rebuilt(lab, *more):
    told = json.loads(lab.lab(*WORDS, *more, "--json").stdout)
    assert all(s["seconds"] is not None for s in told["steps"])
    del lab._ssh
    return told


def root_of(lab):
    """The Merkle root of the newest good capture of its data."""
    captures = json.loads(lab.lab("captures", "list", "data=start", "--json").stdout)["captures"]
    return captures[0]["root"]


def kill(lab):
    for pid in lab.qemu():
        os.kill(pid, signal.SIGKILL)
    while lab.qemu():
        time.sleep(0.05)


def same_as(lab, before):
    assert lab.ssh(HELD) == before["held"]
    assert root_of(lab) == before["root"]
    assert lab.handed()["host_key"] == before["key"]
    assert lab.planned(ok=(0,)) == []
    assert "Welcome" in page(lab)


def test_a_killed_machine_is_named_and_started_with_what_was_raised_meanwhile(web):
    before = web.guest()
    kill(web)
    power = ("l2_instantiate", "update", "power")
    assert web.planned(ok=(2,)) == [power]
    web.overlay("memory: 1280MiB")
    assert web.planned(ok=(2,)) == [("l2_instantiate", "update", "machine"), power]
    web.converge()
    assert web.planned(ok=(0,)) == []
    assert web.guest() == before
    assert int(web.ssh("awk '/MemTotal/ {print $2}' /proc/meminfo")) > 1100 * 1024


@pytest.fixture(scope="module")
def before(web):
    web.lab("capture", "host=web1")
    return {"held": web.ssh(HELD), "root": root_of(web), "key": web.handed()["host_key"]}


def test_a_rebuild_replaces_the_machine_and_keeps_every_byte(web, before):
    machine_id = web.ssh("cat /etc/machine-id")
    web.ssh("touch /var/lib/not-declared")
    told = rebuilt(web)
    assert "web1 start" not in told["notes"], "the durable disk was kept, nothing restored"
    assert web.ssh("ls /var/lib/not-declared || :") == "", "the OS disk is a new one"
    assert web.ssh("cat /etc/machine-id") == machine_id
    same_as(web, before)


@pytest.mark.long
def test_a_deleted_machine_comes_back_with_its_data_and_its_identity(web, before):
    """Not rebuilt: somebody removed it, and the same `converge` as ever brings it back."""
    kill(web)
    shutil.rmtree(web.state / "machines/web1")
    assert ("l2_instantiate", "create", "machine") in web.planned(ok=(2,))
    web.converge()
    del web._ssh
    same_as(web, before)


@pytest.mark.long
def test_the_durable_disk_is_lost_and_what_was_on_it_comes_back(web, before):
    kill(web)
    for file in (web.state / "disks/web1").glob("data*"):
        file.unlink()
    # it is off and cannot be captured once more; nobody knows that there is nothing to capture
    refused = web.lab(*WORDS, ok=(5,))
    assert "--lose web1/start" in refused.stdout + refused.stderr
    told = rebuilt(web, "--lose", "web1/start")
    assert "restored" in told["notes"]["web1 start"]
    same_as(web, before)


@pytest.mark.long
def test_a_drill_in_a_twin_that_reaches_nothing(web, before):
    argv = [sys.executable, "-m", "lab.cli", "drill", "host=web1", "--json"]
    drill = subprocess.Popen(
        argv, cwd=web.root, env=web.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    heard = heard_by_the_twin(web, drill)
    said, err = drill.communicate(timeout=900)
    assert drill.returncode == 0, said + err
    assert heard == "silence", "the twin reached this machine"
    reach = f"timeout 5 bash -c '</dev/tcp/10.0.2.2/{web.port}' && echo reached"
    assert web.ssh(reach) == "reached\n", "the same way leads somewhere for the machine itself"
    told = json.loads(said)
    (proof,) = told["drills"]
    assert (proof["proved"], proof["sandbox"]) == (True, "qemu")
    assert [r["root"] for r in proof["restored"]] == [before["root"]]
    assert {"template", "machine", "system", "data", "workloads", "health"} <= proof["steps"].keys()
    assert proof["steps"]["template"] < 20, "the lab's template was shared, not built"
    assert 0 < proof["rto"] < 600
    assert len(web.qemu()) == 1, "the twin is gone"
    assert not list(web.state.parent.glob("drill-*"))


def heard_by_the_twin(web, drill):
    """Ask the twin itself, once it can be logged in to: does this machine answer it?"""
    while drill.poll() is None:
        time.sleep(0.5)
        for record in web.state.parent.glob("drill-*/machines/web1/machine.json"):
            said = json.loads(record.read_text())
            if not said["answered"]:
                continue
            known = web.base / "twin"
            known.write_text(f"twin {said['host_key']}\n")
            options = ("HostKeyAlias=twin", "StrictHostKeyChecking=yes", "BatchMode=yes",
                       f"UserKnownHostsFile={known}", "IdentitiesOnly=yes")  # fmt: skip
            key = str(record.parents[2] / "keys/lab")
            words = ["ssh", "-F", "none", "-i", key, "-p", str(said["port"])]
            words += [w for o in options for w in ("-o", o)] + [f"{said['user']}@127.0.0.1"]
            ask = (
                f"timeout 5 bash -c '</dev/tcp/10.0.2.2/{web.port}' && echo reached || echo silence"
            )
            done = subprocess.run([*words, ask], capture_output=True, text=True, check=False)
            return done.stdout.strip() or done.stderr
    return "never up"


@pytest.mark.long
def test_the_runner_is_lost_with_all_it_held_and_git_key_and_captures_bring_it_back(web, before):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(web.root)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    web.lab("capture", "host=web1")
    kill(web)
    origin = web.root.with_suffix(".git-only")
    web.root.rename(origin)
    shutil.rmtree(web.base / "state")
    (key_file,) = (web.base / "config").rglob("keys.txt")
    away = key_file.rename(web.base / "off-site-key.txt")
    argv = [sys.executable, "-m", "lab.cli", "bootstrap", "--from", str(origin), "--key", str(away)]
    done = subprocess.run(
        [*argv, "--into", str(web.root), "--json"],
        cwd=web.base, env=web.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = rebuilt(web)
    assert "web1 start" in told["notes"]
    same_as(web, before)

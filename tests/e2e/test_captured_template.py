"""A machine's boot disk becomes a template, and a new machine comes out of it: all for real."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.clients import restic

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.long]
CANARY = "canary-b5c1f0"
PERSONA = """\
purpose: A small machine
image: {base: debian-13, packages: [docker.io, docker-cli, docker-compose, curl]}
machine: {cpu: 2, memory: 768MiB, disks: {root: {size: 4GiB}}}
system:
  files: {/opt/app/config: {content: "a: 1\\n"}, /etc/motd: {content: "hello\\n"}}
  sysctl: {vm.swappiness: 10}
  services: {docker: running}
data: {notes: {paths: [/srv/notes]}}
"""
SETUP = f"""
set -e
mkdir -p /srv/notes; echo {CANARY} > /srv/notes/n
docker volume create notes >/dev/null; echo {CANARY} > /var/lib/docker/volumes/notes/_data/n; sync
"""
WHO = "cat /etc/machine-id; hostname; cat /opt/app/config; ls -A /srv"


@pytest.fixture(scope="module")
def lab(tmp_path_factory, real_lab, template):
    if (restic.version() or (0,)) < restic.OLDEST:
        pytest.skip("needs restic 0.17 or newer: sudo tools/install-restic")
    made = real_lab(Path(tmp_path_factory.mktemp("disk")), f"disk{os.getpid()}")
    made.env["XDG_CONFIG_HOME"] = str(made.base / "config")
    shutil.rmtree(made.root / "personas")
    made.write("personas/small.yaml", PERSONA)
    made.write(
        "lab.yaml",
        f"name: {made.name}\nproviders: {{box: {{kind: qemu, boot_deadline: 10m}}}}\n"
        f"capture: {{repository: {{url: {made.base}/store, password: !secret restic}}}}\n",
    )
    made.write("inventory/hosts.yaml", "hosts:\n  web1: {persona: small, provider: box}\n")
    shutil.copytree(template.parent.parent, made.state / "images", copy_function=os.link)
    made.lab("secrets", "init")
    made.lab("secrets", "generate", "restic")
    made.converge()
    yield made
    names = ("--confirm", "web1", "--confirm", "web2")
    made.lab("destroy", "--all", "--with-data", "--yes", "--no-input", *names, ok=(0, 1, 3))
    for pid in made.qemu():
        os.kill(pid, 9)


def test_captured_promoted_and_a_new_machine_made_from_it(lab):
    lab.ssh(SETUP)
    before = lab.ssh(WHO).splitlines()
    lab.env["STRATA_FAULT"] = "l2.disk.stopped"
    lab.lab("capture", "--disk", "host=web1", ok=(-9,))
    del lab.env["STRATA_FAULT"]
    assert lab.qemu() == [], "the fault was to leave it off"
    done = lab.lab("capture", "--disk", "host=web1")
    assert "shut down in order" in done.stdout
    settled = "systemctl is-system-running --wait >/dev/null || :; docker volume ls -q"
    assert lab.ssh(settled) == "notes\n", "it does not run as before"
    assert lab.planned(ok=(0,)) == []

    promoted = lab.lab("image", "promote", "--from-capture", "host=web1")
    assert "new machines of small get small-" in promoted.stdout
    assert "captured: " in (lab.root / "promoted.yaml").read_text()
    assert lab.lab("image", "status", ok=(2,)).stdout.count("behind: made from") == 1
    made = json.loads(next((lab.state / "images").glob("small-*/baseline.json")).read_text())
    assert made["complete"]
    assert made["units"]["docker.service"] == "enabled"
    assert lab.planned(ok=(0,)) == [], "a machine that exists stays where it is"

    lab.write(
        "inventory/hosts.yaml",
        "hosts:\n  web1: {persona: small, provider: box}\n"
        "  web2: {persona: small, provider: box}\n",
    )
    report = lab.report("converge", "host=web2", "--yes", "--no-input")
    applied = [w for p in report["parts"] for w in p["applied"]]
    assert not [w for w in applied if "/opt/app/config" in w], "it came with the template"
    assert lab.report("plan", "host=web2", ok=(0,))["parts"]

    values = lab.report("verify", "host=web2", ok=(0,))["handed"]["web2"]
    assert values["host_key"] != lab.handed()["host_key"]
    after = on(lab, values, WHO)
    assert after[1] == "web2"
    assert after[0] != before[0], "the machine-id is that of the other machine"
    assert "a: 1" in after
    assert "notes" not in " ".join(after)
    assert on(lab, values, "docker volume ls -q; docker ps -aq") == []
    disk = next((lab.state / "images").glob("small-*/disk.qcow2"))
    console = (lab.state / "machines/web2/serial.log").read_text(errors="replace")
    assert "EXT4-fs" not in console, console[-2000:]
    live = lab.lab("capture", "--disk", "--live", "host=web2").stdout
    assert "as after a power cut" in live
    lab.lab("captures", "verify", "host=web2", "data=disk")
    assert on_disk(lab.state / "machines/web1/root.qcow2", CANARY), "it was never on a disk"
    assert not on_disk(disk, CANARY), "what was removed can still be read in the template"


def on(lab, values, command):
    """A command on a machine, without any code of ours; keys checked strictly."""
    known = lab.base / "known"
    known.write_text(f"it {values['host_key']}\n")
    words = ["ssh", "-F", "none", "-i", values["identity_file"], "-p", str(values["port"])]
    words += ["-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=it", "-o", "BatchMode=yes"]
    words += ["-o", "StrictHostKeyChecking=yes", f"{values['user']}@{values['address']}"]
    done = subprocess.run(
        [*words, "sudo sh -s"], input=command, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    return done.stdout.splitlines()


def on_disk(disk, text):
    """Whether a disk holds these bytes anywhere: its clusters stand in the file as they are."""
    return subprocess.run(["grep", "-c", "-a", text, disk], check=False).returncode == 0

"""Recovery of a real virtual machine, end to end: web1 is rebuilt, and keeps every byte."""

import json
import os
import shutil
import signal
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


def rebuilt(lab):
    told = json.loads(lab.lab(*WORDS, "--json").stdout)
    assert all(s["seconds"] is not None for s in told["steps"])
    del lab._ssh
    return told


def root_of(lab):
    """The Merkle root of the newest good capture of its data."""
    captures = json.loads(lab.lab("captures", "list", "data=start", "--json").stdout)["captures"]
    return captures[0]["root"]


def same_as(lab, before):
    assert lab.ssh(HELD) == before["held"]
    assert root_of(lab) == before["root"]
    assert lab.handed()["host_key"] == before["key"]
    assert lab.planned(ok=(0,)) == []
    assert "Welcome" in page(lab)


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

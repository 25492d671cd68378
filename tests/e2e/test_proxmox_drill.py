"""A host of Proxmox VE drilled on its own node, by the command line, real tofu and the provider.

What stands behind a started machine's address is an SSH server; what it runs has a network or none
as the stand-in's firewall says. So a rule that is missing lets it reach this machine, really.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from lab.clients import restic
from lab.recovery import twins
from tests.e2e.test_proxmox import Cluster, PveLab
from tests.peers import needs_tofu
from tests.standins.doors import LOCAL, Doors
from tests.standins.proxmox import ProxmoxStandIn
from tests.standins.proxmox.firewall import CLUSTER, Written

pytestmark = [pytest.mark.slow]
HOST, TWIN, OTHER = (f"{LOCAL}.78.{n}" for n in (1, 2, 9))
LAB = twins.name_of("house", "nas1")


class Guests(Doors):
    """The host, and the twin of it, each with files of its own."""

    def __init__(self, base):
        super().__init__(base / "state/strata/house")
        self.base = base
        self.private = {name: base / "guests" / name for name in ("nas1", "drill-nas1")}
        for folder in self.private.values():
            folder.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "own", folder], check=True)

    def keys_of(self, name):
        if name == "drill-nas1":
            return self.state.parent / LAB / "keys", "nas1"
        return super().keys_of(name)

    def open(self, guest, config, disks):
        if guest.name == "drill-nas1":
            shutil.rmtree(self.private[guest.name] / "things", ignore_errors=True)
        return super().open(guest, config, disks)

    def remove(self):
        for folder in self.private.values():
            subprocess.run(["umount", "--lazy", folder], check=True)


class Drilled(PveLab):
    """The lab of one host with data, its real machine made and captured."""

    def __init__(self, base, pve, standin, guests, image):
        super().__init__(base, pve, image, self.host)
        self.standin, self.guests = standin, guests
        text = (self.root / "lab.yaml").read_text()
        self.write("lab.yaml", text.replace("token: !secret", f"{self.drills}, token: !secret"))
        self.write(
            "personas/nas.yaml",
            f"image: {{base: {image}}}\nmachine:\n  memory: 1GiB\n  disks: {{root: {{size: 4GiB}}, "
            "data: {size: 1GiB, durable: true, mount: /srv}}\n  tags: [mine]\n"
            + self.network
            + "system: none\n"
            "data: {things: {paths: [/srv/things]}}\n",
        )
        self.lab("converge", "l2", "--through", "--yes", "--no-input")
        things = guests.private["nas1"] / "things"
        things.mkdir()
        (things / "a").write_text("precious\n")
        self.lab("capture", "host=nas1", "data=things")

    drills = f"drills: {{addresses: {TWIN}-{LOCAL}.78.3}}"
    host = f"{HOST}/8"
    network = ""

    def write(self, name, text):
        (self.root / name).write_text(text)

    def drill(self, *words, ok=(0,)):
        done = self.lab("drill", "host=nas1", "--json", *words, ok=ok)
        (proof,) = json.loads(done.stdout)["drills"]
        return proof

    def twins(self):
        return [g for g in self.standin.world.guests.values() if g.name.startswith("drill-")]

    def real(self):
        """Everything of the host itself: its machine, shelf, template, disks, firewall."""
        world = self.standin.world
        guests = {
            g.vmid: (dict(g.config), g.running, world.firewalls.of(g.vmid).rules)
            for g in world.guests.values()
            if not g.name.startswith("drill-")
        }
        return guests, sorted(v.volid for v in world.volumes)


@pytest.fixture
def nas(tmp_path):
    needs_tofu()
    if os.geteuid() != 0:
        pytest.skip("an SSH server at port 22 of an address of its own needs root")
    if (restic.version() or (0,)) < restic.OLDEST:
        pytest.skip("needs restic 0.17 or newer: sudo tools/install-restic")
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    guests = Guests(tmp_path)
    guests.addresses |= {"nas1": HOST, "drill-nas1": TWIN}
    try:
        with (
            ProxmoxStandIn(on_start=guests.open, on_stop=guests.close) as pve,
            Cluster(pve.url, pve.token, pve.fingerprint) as cluster,
        ):
            guests.cut_off = lambda guest: not pve.world.firewalls.lets_out(guest, OTHER, 443)
            switch(pve, on=True)
            base = f"{{url: {image}, checksum: 'sha256:{digest}'}}"
            yield Drilled(tmp_path, cluster, pve, guests, base)
    finally:
        guests.remove()


def switch(pve, *, on):
    pve.world.firewalls.write(CLUSTER, Written({"enable": str(int(on))}))


def test_a_host_is_proved_on_its_own_node_and_nothing_of_it_changes(nas):
    before = nas.real()
    proof = nas.drill()
    assert (proof["proved"], proof["sandbox"]) == (True, "proxmox")
    assert [r["data"] for r in proof["restored"]] == ["things"]
    assert proof["restored"][0]["compared"] == "every file, also after all was healthy"
    assert any("reached none of" in note for note in proof["notes"])
    assert {"machine", "see that it reaches nothing", "data", "health"} <= proof["steps"].keys()
    assert proof["steps"]["template"] < 10
    assert nas.twins() == []
    assert nas.real() == before
    made = [c for c in nas.standin.faults.calls if c.path.endswith("/clone")]
    assert [8000 <= int(c.parameters["newid"]) <= 8999 for c in made] == [False, True]
    assert not list(nas.base.glob("state/strata/drill-*"))

    # Whoever asks for it gets what was done before, in a sandbox of this machine.
    assert "--sandbox" in nas.lab("drill", "--help").stdout


def test_a_twin_whose_rules_do_nothing_is_caught_and_destroyed(nas):
    """The rules are written, and nothing keeps to them: as where the daemon does not run."""
    nas.guests.cut_off = lambda guest: False
    before = nas.real()
    proof = nas.drill(ok=(1,))
    assert not proof["proved"]
    assert "its twin is not closed off. It reached" in proof["failure"]
    assert f"{HOST}:22" in proof["failure"], "the host itself"
    assert proof["restored"] == [], "nothing came to it"
    assert nas.twins() == []
    assert nas.real() == before


def test_what_stands_in_the_way_is_told_at_once_and_nothing_is_made(nas):
    switch(nas.standin, on=False)
    calls = len(nas.standin.faults.calls)
    text = (nas.root / "lab.yaml").read_text()
    few = "vmids: {drills: 8000-8001}, drills:"
    nas.write("lab.yaml", text.replace("drills:", few))
    nas.standin.add_vm(8000, "theirs")
    done = nas.lab("drill", "host=nas1", ok=(5,))
    said = " ".join((done.stdout + done.stderr).split())
    assert "off: nothing would close off the twin" in said
    assert "pvesh set /cluster/firewall/options --enable 1" in said
    assert "--sandbox docker" in said
    assert "2 are needed, and only 1 of 8000-8001 are free" in said
    assert {c.method for c in nas.standin.faults.calls[calls:]} == {"GET"}
    nas.write("lab.yaml", text.replace(nas.drills, "drills: {}"))
    done = nas.lab("drill", "host=nas1", ok=(5,))
    assert f"must not have its address {HOST}" in " ".join(
        done.stderr.split() + done.stdout.split()
    )


@pytest.mark.parametrize("point", ["l2.tofu.applied", "drill.machine", "drill.restored"])
def test_a_drill_that_was_killed_is_cleared_by_the_next(nas, point):
    before = nas.real()
    nas.env["STRATA_FAULT"] = point
    killed = nas.lab("drill", "host=nas1", ok=(-signal.SIGKILL, 137, -9))
    assert killed.returncode != 0
    nas.env["STRATA_FAULT"] = ""
    nas.standin.settle()
    assert nas.twins()
    for twin in nas.twins():
        assert not twin.running or not nas.standin.world.firewalls.lets_out(twin, OTHER, 443)
    assert "may still be there" in nas.lab("doctor").stdout
    assert nas.drill()["proved"]
    assert nas.twins() == []
    assert nas.real() == before
    assert "may still be there" not in nas.lab("doctor").stdout


def test_a_twin_that_ran_without_its_rules_for_a_moment_is_not_used(nas):
    """Somebody takes them away once it has started: nothing is put right, it is destroyed."""
    world = nas.standin.world

    def meddle(guest, config, disks):
        opened = nas.guests.open(guest, config, disks)
        if guest.name == "drill-nas1":
            world.firewalls.write(guest.vmid, Written())
        return opened

    world.on_start = meddle
    proof = nas.drill(ok=(1,))
    assert "its firewall was changed while it ran" in proof["failure"]
    assert proof["restored"] == []
    assert nas.twins() == []

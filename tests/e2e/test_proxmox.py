"""A lab on Proxmox VE from its first plan to its end, by the command line, tofu and the provider.

The API is the stand-in's, and what stands behind a started machine's address is an SSH server, so
that everything up to L2 is real but the guest. `just test-pve` runs the same on a real node.
"""

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.clients.proxmox import Access, Api, wait
from lab.model.secret import NoSecrets, Secret
from tests.peers import PEERS, needs_tofu
from tests.standins.doors import LOCAL, Doors
from tests.standins.proxmox import ProxmoxStandIn

LAB = str(Path(sys.executable).with_name("lab"))
REAL = {k.removeprefix("STRATA_PVE_").lower(): v for k, v in os.environ.items() if "_PVE_" in k}


class Known(NoSecrets):
    def __init__(self, value):
        self.value = value

    def reveal(self, name):
        return self.value


class Cluster:
    """A node that is there: the stand-in, or a real one; looked at by its API alone."""

    def __init__(self, url, token, fingerprint=None, node="pve1", storage="local-lvm", **more):
        self.url, self.token, self.fingerprint = url, token, fingerprint
        self.node, self.storage, self.more = node, storage, more
        self.pool = f"strata-test-{secrets.token_hex(3)}"
        access = Access(url, fingerprint, "", Secret("pve", Known(token)))
        self.api = Api(access, threading.Event())

    def __enter__(self):
        self.api.post("pools", doing="make a pool", poolid=self.pool)
        self.began = time.time()
        return self

    def __exit__(self, *_):
        """Everything in the pool goes, the archives of this run, and the pool."""
        self.clear_archives()
        for vm in sorted(self.all, key=lambda vm: vm.is_template):
            path = f"nodes/{vm.node}/{vm.kind}/{vm.vmid}"
            with contextlib.suppress(Exception):
                wait(self.api, self.api.post(f"{path}/status/stop", doing="stop"), doing="stop",
                     deadline=60)  # fmt: skip
            self.api.put(f"{path}/config", doing="clean up", protection=False)
            wait(self.api, self.api.delete(path, doing="clean up", purge=True), doing="clean up",
                 deadline=120)  # fmt: skip
        self.api.delete("pools", doing="remove the pool", poolid=self.pool)
        self.api.close()

    def clear_archives(self):
        """Those that this run made: by their notes, and when they were made."""
        storage = self.more.get("backup_storage")
        self.api.touched()
        for volume in self.api.volumes(self.node, storage, "backup") if storage else ():
            ours = "nas1 (lab house), captured by Strata" in volume.notes
            if ours and volume.made >= self.began - 60:
                path = f"nodes/{self.node}/storage/{storage}/content/{volume.name}"
                self.api.put(path, doing="clean up", protected=False)
                upid = self.api.delete(path, doing="clean up")
                if upid:
                    wait(self.api, upid, doing="clean up", deadline=120)

    @property
    def all(self):
        self.api.touched()
        return [vm for vm in self.api.vms() if vm.pool == self.pool]

    @property
    def names(self):
        found = (self.config(vm) for vm in self.all if not vm.is_template)
        return {config["name"] for config in found}

    def config(self, vm):
        return self.api.config(vm.node, vm.vmid)

    @property
    def machine(self):
        return next(vm for vm in self.all if self.config(vm)["name"] == "nas1")

    @property
    def volume(self):
        (value,) = [v for v in self.config(self.machine).values() if "serial=data" in str(v)]
        return value.split(",")[0]

    @property
    def made(self):
        """Changes with every machine that is made."""
        return self.config(self.machine)["smbios1"]

    def edit(self, **what):
        """As the GUI does it."""
        vm = self.machine
        self.api.put(f"nodes/{vm.node}/qemu/{vm.vmid}/config", doing="edit", **what)


class PveLab:
    def __init__(self, base, pve, base_image, address):
        self.base, self.pve, self.root = base, pve, base / "lab"
        self.env = {
            **os.environ,
            "HOME": str(base / "home"),
            **{f"XDG_{n}_HOME": str(base / n.lower()) for n in ("CONFIG", "STATE", "CACHE")},
            "XDG_RUNTIME_DIR": str(base / "run"),
            "NO_COLOR": "1",
        }
        place = f"node: {pve.node}, storage: {pve.storage}, pool: {pve.pool}"
        place += "".join(f", {k}: {pve.more[k]}" for k in ("bridge", "vlan") if k in pve.more)
        place += f', fingerprint: "{pve.fingerprint}"' if pve.fingerprint else ""
        backups = pve.more.get("backup_storage")
        place += f", backup_storage: {backups}" if backups else ""
        gateway = pve.more.get("gateway")
        network = f"  network: {{gateway: {gateway}}}\n" if gateway else ""
        for name, text in {
            "lab.yaml": f"name: house\nproviders:\n  pve: {{kind: proxmox, url: '{pve.url}', "
            f"token: !secret pve, {place}}}\n"
            "capture: {repository: {url: captures, password: !secret restic}}\n",
            "personas/nas.yaml": f"image: {{base: {base_image}}}\n"
            "machine:\n  memory: 1GiB\n  disks: {root: {size: 4GiB}, "
            "data: {size: 1GiB, durable: true, mount: /srv}}\n"
            f"{network}system: none\n",
            "inventory/hosts.yaml": "hosts:\n  nas1: {persona: nas, provider: pve"
            + (f", address: {address}" if address else "")
            + "}\n",
        }.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        (base / "cache/strata").mkdir(parents=True)
        (base / "cache/strata/peers").symlink_to(PEERS)
        self.lab("secrets", "init")
        self.lab("secrets", "set", "pve", stdin=pve.token)
        self.lab("secrets", "generate", "restic")

    def lab(self, *words, ok=(0,), stdin=""):
        done = subprocess.run(
            [LAB, *words],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
            input=stdin,
        )
        assert done.returncode in ok, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def changes(self):
        last = json.loads(self.lab("plan", "--json", ok=(0, 2)).stdout.splitlines()[-1])
        return {
            f"{c['action']} {c['what']}": {
                f["field"]: (f["before"], f["after"]) for f in c["fields"]
            }
            for part in last.get("report", last)["parts"]
            if part["layer"] == "l2_instantiate"
            for c in (part["plan"] or {}).get("changes", ())
        }


class Started:
    """A machine answers at its address; one that cleans its disk ends by itself, as if it had."""

    def __init__(self, doors):
        self.doors, self.pve = doors, None

    def start(self, guest, config, files):
        if any(key.startswith("net") for key in config):
            return self.doors.open(guest, config, files)
        threading.Timer(1.0, self.pve.power_off, (guest.vmid,)).start()
        return None


@pytest.fixture
def house(tmp_path):
    needs_tofu()
    if REAL.get("url"):
        given = {k: v for k, v in REAL.items() if k not in {"base", "address"}}
        with Cluster(**given) as cluster:
            base = REAL.get("base", "debian-13")
            yield PveLab(tmp_path, cluster, base, REAL.get("address"))
        return
    if os.geteuid() != 0:
        pytest.skip("an SSH server at port 22 of an address of its own needs root")
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    doors = Doors(tmp_path / "state/strata/house")
    doors.addresses["nas1"] = f"{LOCAL}.78.1"
    started = Started(doors)
    with (
        ProxmoxStandIn(on_start=started.start, on_stop=doors.close) as pve,
        Cluster(pve.url, pve.token, pve.fingerprint, backup_storage="local") as cluster,
    ):
        started.pve = pve
        base = f"{{url: {image}, checksum: 'sha256:{digest}'}}"
        yield PveLab(tmp_path, cluster, base, f"{LOCAL}.78.1/8")


@pytest.mark.slow
def test_a_house_on_proxmox(house):
    pve = house.pve
    assert "0 fail" in house.lab("doctor").stdout
    assert list(house.changes()) == ["create disk data", "create machine"]
    house.lab("converge", "l2", "--through", "--yes", "--no-input")
    assert "0 changes" in house.lab("converge", "l2", "--yes", "--no-input").stdout

    # Somebody edits it in the GUI, while it runs: told attribute by attribute, and put right.
    pve.edit(memory=2048, tags="strata;strata-nas1;mine", onboot=False)
    assert house.changes() == {
        "update machine": {
            "memory at the next start": ("2GiB", "1GiB"),
            "start": ("by hand", "at boot"),
            "tags": (["mine", "strata", "strata-nas1"], ["strata", "strata-nas1"]),
        }
    }
    house.lab("converge", "l2", "--yes", "--no-input")
    assert house.changes() == {}

    # A rebuild makes another machine and keeps the durable disk.
    before, disk = pve.made, pve.volume
    house.lab("rebuild", "host=nas1", "--yes", "--confirm", "nas1", "--no-input")
    assert pve.made != before
    assert pve.volume == disk

    # The token is in no file that was written on the way.
    value = pve.token.partition("=")[2].encode()
    kept = [p for p in house.base.rglob("*") if p.is_file() and p.parent.name != "peers"]
    assert any(p.name == "main.tf.json" for p in kept)
    assert [p for p in kept if value in p.read_bytes()] == []

    # It goes by its typed name, without it nothing does; its durable disk stays on its shelf.
    house.lab("destroy", "host=nas1", "--yes", "--no-input", ok=(5,))
    house.lab("destroy", "host=nas1", "--confirm", "nas1", "--yes", "--no-input")
    assert pve.names == {"nas1-disks"}


@pytest.mark.slow
def test_a_boot_disk_on_proxmox(house):
    """Captured, looked for, promoted; a new machine is made of it. Its content is not real here."""
    pve = house.pve
    if not pve.more.get("backup_storage"):
        pytest.skip("no backup_storage=NAME was given for this node")
    assert "0 fail" in house.lab("doctor").stdout
    house.lab("converge", "l2", "--through", "--yes", "--no-input")
    disk = pve.volume
    house.env["STRATA_FAULT"] = "l2.archive.begun"
    house.lab("capture", "--disk", "host=nas1", ok=(-9,))
    del house.env["STRATA_FAULT"]
    done = house.lab("capture", "--disk", "host=nas1")
    assert "shut down in order" in done.stdout
    assert "only where it lies is kept here" in done.stdout
    assert "0 changes" in house.lab("converge", "l2", "--yes", "--no-input").stdout
    assert pve.volume == disk
    told = house.lab("captures", "verify", "host=nas1", "data=disk").stdout
    assert "its content cannot be read from here" in told
    assert "0 of 1 set verified, 1 only seen to be there" in told
    house.lab("capture", "--disk", "--live", "host=nas1")

    promoted = house.lab("image", "promote", "--from-capture", "host=nas1")
    assert "new machines of nas get nas-" in promoted.stdout
    assert "captured: nas1@" in (house.root / "promoted.yaml").read_text()
    assert "nas-" in house.lab("image", "list").stdout
    assert house.changes() == {}, "a machine that exists stays where it is"
    before = pve.made
    house.lab("rebuild", "host=nas1", "--yes", "--confirm", "nas1", "--no-input")
    assert pve.made != before
    assert pve.volume == disk
    assert house.changes() == {}
    house.lab("destroy", "host=nas1", "--confirm", "nas1", "--yes", "--no-input")

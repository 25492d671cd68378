"""A lab on Proxmox VE from its first plan to its end, by the command line, tofu and the provider.

The API is the stand-in's; what stands behind a started machine's address is an SSH server alone, so
that everything up to L2 is real but the guest.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import folders
from tests.standins.doors import Doors
from tests.standins.proxmox import ProxmoxStandIn

LAB = str(Path(sys.executable).with_name("lab"))
PEERS = folders.cache() / "strata" / "peers"  # looked up before the tests get folders of their own
ADDRESS = "127.0.78.1"
PERSONA = """
purpose: A house's files
image: {{base: {{url: {image}, checksum: "sha256:{sum}"}}}}
machine:
  memory: 1GiB
  disks: {{root: {{size: 4GiB}}, data: {{size: 1GiB, durable: true, mount: /srv}}}}
system: none
"""


class PveLab:
    def __init__(self, base, pve):
        self.base, self.pve, self.root = base, pve, base / "lab"
        self.env = {
            **os.environ,
            "HOME": str(base / "home"),
            "XDG_CONFIG_HOME": str(base / "config"),
            "XDG_STATE_HOME": str(base / "state"),
            "XDG_CACHE_HOME": str(base / "cache"),
            "XDG_RUNTIME_DIR": str(base / "run"),
            "NO_COLOR": "1",
        }
        for name, text in self._files().items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        cache = base / "cache/strata/peers"
        cache.parent.mkdir(parents=True)
        cache.symlink_to(PEERS)

    def _files(self):
        image = self.base / "disk.qcow2"
        make = ["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"]
        subprocess.run(make, check=True)
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        return {
            "lab.yaml": "name: house\nproviders:\n  pve: {kind: proxmox, "
            f'url: "{self.pve.url}", fingerprint: "{self.pve.fingerprint}", token: !secret pve, '
            "node: pve1, storage: local-lvm, boot_deadline: 30s}\n"
            "capture: {repository: {url: captures, password: !secret restic}}\n",
            "personas/nas.yaml": PERSONA.format(image=image, sum=digest),
            "inventory/hosts.yaml": "hosts:\n  nas1: {persona: nas, provider: pve, "
            f"address: {ADDRESS}/8}}\n",
        }

    def lab(self, *words, ok=(0,), stdin=None):
        done = subprocess.run(
            [LAB, *words],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            input=stdin,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {}),
        )
        assert done.returncode in ok, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def changes(self, *words, ok=(0, 2)):
        last = json.loads(self.lab(*words, "--json", ok=ok).stdout.splitlines()[-1])
        report = last.get("report", last)
        return {
            f"{c['action']} {c['what']}": {
                f["field"]: (f["before"], f["after"]) for f in c["fields"]
            }
            for part in report["parts"]
            if part["layer"] == "l2_instantiate"
            for c in (part["plan"] or {}).get("changes", ())
        }

    @property
    def guest(self):
        (found,) = [g for g in self.pve.world.guests.values() if g.name == "nas1"]
        return found

    @property
    def volume(self):
        (value,) = [v for v in self.guest.config.values() if "serial=data" in v]
        return value.split(",")[0]


@pytest.fixture
def house(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("an SSH server at port 22 of an address of its own needs root")
    if not (PEERS / "tofu").exists() or not (PEERS / "providers").is_dir():
        pytest.skip("the real tofu and provider are not here: just peers builds them, with Go")
    doors = Doors(tmp_path / "state/strata/house")
    doors.addresses["nas1"] = ADDRESS
    with ProxmoxStandIn(on_start=doors.open, on_stop=doors.close) as pve:
        made = PveLab(tmp_path, pve)
        made.lab("secrets", "init")
        made.lab("secrets", "set", "pve", stdin=pve.token)
        made.lab("secrets", "generate", "restic")
        yield made


@pytest.mark.slow
def test_a_house_on_proxmox(house):
    assert "0 warn, 0 fail" in house.lab("doctor").stdout
    planned = house.changes("plan")
    assert list(planned) == ["create disk data", "create machine"]
    house.lab("converge", "l2", "--through", "--yes", "--no-input")
    again = house.lab("converge", "l2", "--yes", "--no-input")
    assert "0 changes" in again.stdout
    # Somebody edits it in the GUI.
    house.pve.edit(house.guest.vmid, memory="2048", tags="strata;strata-nas1;mine")
    assert house.changes("plan") == {
        "update machine": {
            "memory": ("2GiB", "1GiB"),
            "tags": (["mine", "strata", "strata-nas1"], ["strata", "strata-nas1"]),
        }
    }
    house.lab("converge", "l2", "--yes", "--no-input")
    assert house.changes("plan") == {}
    # A rebuild keeps the durable disk.
    before, disk = house.guest, house.volume
    words = ("--yes", "--confirm", "nas1", "--no-input")
    house.lab("rebuild", "host=nas1", *words)
    assert house.guest is not before
    assert house.volume == disk
    # Destroyed by its typed name; without it nothing happens.
    house.lab("destroy", "host=nas1", "--yes", "--no-input", ok=(5,))
    house.lab("destroy", "host=nas1", "--confirm", "nas1", "--yes", "--no-input")
    names = {g.name for g in house.pve.world.guests.values() if not g.is_template}
    assert names == {"nas1-disks"}

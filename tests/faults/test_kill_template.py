"""Killed at every step of making a template on Proxmox VE, one after the other: one template."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standins.proxmox import ProxmoxStandIn

REPOSITORY = Path(__file__).resolve().parents[2]
LAB = str(Path(sys.executable).with_name("lab"))
POINTS = ("after_send", "before_create", "after_create", "after_convert")

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not there")


def run(root, *words, fault="", stdin=None):
    env = {**os.environ, "HOME": str(root), "STRATA_FAULT": fault}
    return subprocess.run(
        [LAB, *words],
        cwd=root,
        env=env,
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_point_is_tried():
    source = (REPOSITORY / "layers/l1_image/drivers/proxmox_template/making.py").read_text()
    assert set(re.findall(r'point\("l1\.proxmox\.([a-z_]+)"\)', source)) == set(POINTS)


def test_killed_at_every_step_there_is_one_template_in_the_end(lab_dir, tmp_path):
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    with ProxmoxStandIn(task_seconds=0.01) as pve:
        root = lab_dir(
            {
                "lab.yaml": "name: killed\nproviders:\n  pve: {kind: proxmox, "
                f'url: "{pve.url}", fingerprint: "{pve.fingerprint}", token: !secret pve, '
                "node: pve1, storage: local-lvm}\n",
                "personas/p.yaml": f"image: {{base: {{url: {disk}, checksum: 'sha256:{digest}'}}}}"
                "\nsystem: none\n",
                "inventory/hosts.yaml": "hosts: {a: {persona: p, provider: pve}}\n",
            }
        )
        assert run(root, "secrets", "init").returncode == 0
        assert run(root, "secrets", "set", "pve", stdin=pve.token).returncode == 0
        for point in POINTS:
            killed = run(root, "converge", "l1", "--yes", fault=f"l1.proxmox.{point}")
            assert killed.returncode == -signal.SIGKILL, (point, killed.stdout, killed.stderr)
        ended = run(root, "converge", "l1", "--yes")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "0 changes" in run(root, "plan", "l1").stdout
        assert [g.config["template"] for g in pve.world.guests.values()] == ["1"]
        assert [v for v in pve.world.volumes if v.content == "import"] == []
        assert pve.token.partition("=")[2] not in killed.stdout + killed.stderr

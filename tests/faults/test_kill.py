"""kill -9 at every step boundary, then the same command again: it finishes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAB = str(Path(sys.executable).with_name("lab"))
REPOSITORY = Path(__file__).resolve().parents[2]
LAYERS = ("l1_image", "l2_instantiate", "l3_system", "l4_workload")
FILES = {
    "lab.yaml": "name: faults\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine:
  cpu: 1
  memory: 1GiB
  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true, mount: /srv}}
system:
  packages: [curl, htop]
  files: {/etc/motd: {content: hello}}
workloads:
  start: {compose: start/compose.yaml}
""",
    "personas/web/start/compose.yaml": "services: {web: {image: 'x:1'}}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
}
CHANGES = 9
POINTS = [
    "engine.before_own",
    "engine.before_remember",
    "engine.before_own@2",
    *(f"engine.{layer}.{when}" for layer in LAYERS for when in ("before_apply", "after_apply")),
    *(f"engine.l2_instantiate.{when}@2" for when in ("before_apply", "after_apply")),
    *(f"engine.l3_system.{when}@{n}" for when in ("before_apply", "after_apply") for n in (2, 3)),
]


def run(root, *words, fault=""):
    env = {**os.environ, "STRATA_FAULT": fault} if fault else dict(os.environ)
    return subprocess.run(
        [LAB, *words],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def test_every_point_of_the_engine_is_tried():
    named = set()
    for path in (REPOSITORY / "lab/engine").glob("*.py"):
        named |= set(re.findall(r'faults\.point\(f?"([^"]+)"', path.read_text()))
    tried = {re.sub(r"\.l\d_[a-z]+\.", ".{self._key[1]}.", p.partition("@")[0]) for p in POINTS}
    assert named == tried


@pytest.mark.parametrize("point", POINTS)
def test_killed_there_the_same_command_finishes(lab_dir, point):
    root = lab_dir(FILES)
    killed = run(root, "converge", "--yes", fault=point)
    assert killed.returncode == -signal.SIGKILL, f"the fault missed: {killed.stderr}"
    again = run(root, "converge", "--yes", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert run(root, "plan").returncode == 0
    report = json.loads(again.stdout.splitlines()[-1])
    assert {p["outcome"] for p in report["parts"]} <= {"changed", "unchanged"}
    history = json.loads(run(root, "history", "--json").stdout)
    assert [r["exit_code"] for r in history["runs"]] == [0, None], "the cut run is told as cut off"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_quickly(lab_dir, sign):
    files = {**FILES}
    hosts = "".join(f"  h{i}: {{persona: web, provider: box}}\n" for i in range(400))
    files["inventory/hosts.yaml"] = "hosts:\n" + hosts
    root = lab_dir(files)
    words = [LAB, "converge", "--yes", "--jobs", "1", "--json"]
    with subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as going:
        for line in going.stdout:
            if b"change_ended" in line:
                break
        going.send_signal(sign)
        rest, _ = going.communicate(timeout=60)
    assert going.returncode == 130
    assert json.loads(rest.splitlines()[-1])["exit_code"] == 130
    assert run(root, "converge", "--yes").returncode == 0
    assert run(root, "verify").returncode == 0

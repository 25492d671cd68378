"""Many machines on Proxmox VE planned in one go: do calls to the API and time grow linearly?

    just bench-proxmox             about two minutes on 2 cores
    just bench-proxmox --hosts 25 50

The API is the stand-in of the tests, on this machine: a figure is what Strata asks and how long it
takes with answers that are there at once. The same hosts are planned before they exist, and when
all are there as declared. A claim that does not hold ends in exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.api.facade import Lab  # noqa: E402
from lab.layer import Target, Workspace  # noqa: E402
from layers.l2_instantiate import keys  # noqa: E402
from layers.l2_instantiate.drivers.terraform import rendering  # noqa: E402
from layers.l2_instantiate.drivers.terraform import seed as seeds  # noqa: E402
from layers.l2_instantiate.drivers.terraform.place import MACHINE, Place  # noqa: E402
from layers.l2_instantiate.spec import Inputs  # noqa: E402
from tests.standins.proxmox import GIB, ProxmoxStandIn  # noqa: E402
from tests.standins.proxmox.world import Guest  # noqa: E402
from tests.standins.tofu import program  # noqa: E402

LAB = str(Path(sys.executable).with_name("lab"))
SLOPE = 1.25  # what a host may cost at the most hosts, beside what it costs at half of them
MOST_CALLS = 6.0


class Bench:
    """A lab of that many hosts, and a cluster for them."""

    def __init__(self, base: Path, pve: ProxmoxStandIn, hosts: int) -> None:
        self.base, self.pve, self.hosts = base, pve, hosts
        self.root = base / "lab"
        self.env = {
            **os.environ,
            "HOME": str(base / "home"),
            **{f"XDG_{n}_HOME": str(base / n.lower()) for n in ("CONFIG", "STATE", "CACHE")},
            "XDG_RUNTIME_DIR": str(base / "run"),
        }
        os.environ.update(self.env)
        image = base / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
        digest = subprocess.run(["sha256sum", image], capture_output=True, text=True, check=True)
        entries = "\n".join(
            f"  h{n}: {{persona: p, provider: pve, address: 10.1.{n // 200}.{n % 200 + 2}/16}}"
            for n in range(hosts)
        )
        for name, text in {
            "lab.yaml": f"name: many\nproviders:\n  pve: {{kind: proxmox, url: '{pve.url}', "
            f"fingerprint: '{pve.fingerprint}', token: !secret pve, node: pve1, storage: disks}}\n",
            "personas/p.yaml": f"image: {{base: {{url: {image}, "
            f"checksum: 'sha256:{digest.stdout.split()[0]}'}}}}\n"
            "machine: {memory: 256MiB, disks: {root: {size: 4GiB}}}\nsystem: none\n",
            "inventory/hosts.yaml": f"hosts:\n{entries}\n",
        }.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        self.lab("secrets", "init")
        self.lab("secrets", "set", "pve", stdin=pve.token)

    def lab(self, *words, ok=(0, 2), stdin=""):
        done = subprocess.run(
            [LAB, *words],
            cwd=self.root,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in ok:
            raise SystemExit(
                f"lab {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def plan(self) -> tuple[float, int, dict, Counter]:
        """Seconds, calls to the API, the summary and what was asked how often."""
        self.pve.faults.forget()
        started = time.monotonic()
        last = json.loads(self.lab("plan", "--json").splitlines()[-1])
        took = time.monotonic() - started
        calls = Counter(_kind(c.path) for c in self.pve.faults.calls)
        report = last.get("report", last)
        plans = [p["plan"] for p in report["parts"] if p["layer"] == "l2_instantiate"]
        changed = Counter(c["action"] for p in plans if p for c in p["changes"])
        return took, sum(calls.values()), dict(changed), calls

    def populate(self) -> None:
        """Every host's machine as converging would have left it."""
        self.lab("converge", "l1", "host=h0", "--yes", "--no-input")
        with Lab.load(self.root) as lab:
            handed = lab.plan("host=h0", layer="l1").handed["h0"]
            inputs = Inputs(template=handed["template"], template_name=handed["template_name"])
            for number, host in enumerate(lab.inventory.hosts.values()):
                (part,) = host.parts["l2_instantiate"]
                self._one(lab.workspace, Target(host, part.spec, inputs), 5000 + number)

    def _one(self, workspace: Workspace, target, vmid: int) -> None:
        place = Place(workspace, target.host.name)
        host_key, identity = keys.make_host_key(place), keys.make_login_key(place)
        seed = seeds.wanted(target, place)
        mark = place.mark(MACHINE, template=target.inputs.template_name).text
        body = rendering.Body(vmid, "pve1", mark, "scsi0", {}, seed.volume)
        document = rendering.document(target, body, target.spec.proxmox, workspace.lab)
        one = document["resource"]["proxmox_virtual_environment_vm"]["machine"]
        config = program.wanted(one) | {"scsi0": f"disks:vm-{vmid}-disk-0,size=4G,serial=root"}
        self.pve.add_disk(f"disks:vm-{vmid}-disk-0", owner=vmid, size=4 * GIB)
        guest = Guest(vmid, "pve1", config=config, running=True, started=time.time())
        self.pve.world.guests[vmid] = guest
        place.note(
            vmid=vmid, node="pve1", whole=True, seed=seed.volume, host_key=host_key,
            identity=identity, answered=time.time() + 5, root_at_boot=4 * GIB, **seeds.told(target),
        )  # fmt: skip


def _kind(path: str) -> str:
    words = ["{vmid}" if word.isdigit() else word for word in path.strip("/").split("/")]
    return "/".join(words)


def measure(hosts: int) -> tuple[tuple, tuple]:
    with tempfile.TemporaryDirectory(prefix="strata-bench-") as base, ProxmoxStandIn() as pve:
        pve.add_storage("disks", "lvmthin", content={"images", "rootdir"}, total=100_000 * GIB)
        pve.world.nodes["pve1"].memory, pve.world.nodes["pve1"].cpus = 1024 * GIB, 256
        bench = Bench(Path(base), pve, hosts)
        absent = bench.plan()
        bench.populate()
        there = bench.plan()
    return absent, there


CASES = ("before they exist", "as declared")


def show(hosts: int, both, *, detailed: bool) -> list[str]:
    """Print what was measured of that many hosts; what is wrong with it."""
    failed = []
    for name, (took, calls, changed, kinds) in zip(CASES, both, strict=True):
        print(f"{hosts:>6} {name:<22} {took:>8.2f} {calls:>6} {calls / hosts:>7.2f}")
        for kind, count in kinds.most_common(5) if detailed else ():
            print(f"{'':>6}   {count:>6} of {kind}")
        if name == CASES[1] and changed:
            failed.append(f"{hosts} hosts as declared have changes: {changed}")
        if calls > MOST_CALLS * hosts:
            failed.append(f"{calls / hosts:.1f} calls a host {name}, claimed are {MOST_CALLS:.0f}")
    return failed


def compare(few: int, fewer, many: int, more) -> list[str]:
    """Whether a host costs more where there are more of them."""
    failed = []
    for name, before, after in zip(CASES, fewer, more, strict=True):
        for what, now, then in (("time", after[0], before[0]), ("calls", after[1], before[1])):
            slope = (now / many) / (then / few)
            print(f"{name}: {what} a host at {many} hosts are {slope:.2f} times those at {few}")
            if slope > SLOPE:
                failed.append(f"{what} {name} grow faster than the hosts: {slope:.2f} times")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[50, 100, 200])
    given = parser.parse_args()
    failed, figures = [], {}
    print(f"{'hosts':>6} {'planned':<22} {'seconds':>8} {'calls':>6} {'a host':>7}")
    for hosts in given.hosts:
        figures[hosts] = measure(hosts)
        failed += show(hosts, figures[hosts], detailed=hosts == given.hosts[-1])
    if len(given.hosts) > 1:
        few, many = given.hosts[-2:]
        failed += compare(few, figures[few], many, figures[many])
    print("\n".join(f"FAILED: {line}" for line in failed) or "every claim holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

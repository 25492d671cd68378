"""Capturing 1 GiB in 10,000 files, beside plain restic on the same data in the same run.

    just bench-recovery            about two minutes on 2 cores
    just bench-recovery --vm       the second part: the demo's web1, made and rebuilt (5 minutes)

Both read the same warm files of this machine into a new repository, in turns; a figure is the
median. Nothing of a network is in it: it is about what Strata adds (tar, a session, a hash of every
file, a manifest). A claim that does not hold ends in exit code 1.

The second part times one `lab converge` of a machine that is not there, its template ready: a cold
boot to SSH, then the first L3 and L4. Then `lab rebuild` of it, without its two captures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAR = 1.15
REBUILD_BAR = 1.5
PASSWORD = "of the bench"


def write_files(folder: Path, files: int, size: int) -> None:
    """Half of each file compresses, half does not; sizes vary by a factor of a hundred."""
    dice = random.Random(5)
    weights = [dice.uniform(0.02, 2) for _ in range(files)]
    scale = size / sum(weights)
    text = b"a line of some log file, as they all look\n" * 5000
    for number, weight in enumerate(weights):
        path = folder / f"{number % 100:02d}" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        length = int(weight * scale)
        at = dice.randrange(1000)
        body = (
            dice.randbytes(length // 2) + (text * (length // len(text) + 1))[at : at + length // 2]
        )
        path.write_bytes(body)


def timed(argv, env) -> tuple[float, float]:
    """Seconds by the clock, and of processor time, of a program and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, used


def plain(base: Path, data: Path, env) -> tuple[float, float]:
    """restic by itself: a new repository is there, its cache is warm."""
    repository = base / "plain"
    shutil.rmtree(repository, ignore_errors=True)
    said = init(repository, PASSWORD, env)
    return timed(["restic", "backup", "-q", str(data)], said)


def init(repository: Path, password: str, env) -> dict:
    """A new repository, and the environment that opens it."""
    said = {**env, "RESTIC_REPOSITORY": str(repository), "RESTIC_PASSWORD": password}
    subprocess.run(["restic", "init", "-q"], env=said, check=True)
    return said


class OurLab:
    """A lab of one host: this machine."""

    def __init__(self, base: Path, data: Path, env) -> None:
        self.root, self.env = base / "lab", env
        self.store = base / "ours"
        for name, text in {
            "lab.yaml": "name: bench\nproviders: {here: {kind: existing}}\n"
            f"capture: {{repository: {{url: {self.store}, password: !secret restic}}}}\n",
            "personas/p.yaml": f"system: none\ndata: {{bench: {{paths: [{data}]}}}}\n",
            "inventory/hosts.yaml": "hosts: {me: {persona: p, provider: here, address: local}}\n",
        }.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for words in (["secrets", "init"], ["secrets", "generate", "restic"]):
            timed(self.words(*words), env)
        get = self.words("secrets", "get", "restic", "--reveal")
        self.password = subprocess.run(
            get, env=env, capture_output=True, text=True, check=True
        ).stdout

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "lab.cli", *words, "--quiet", "--lab", str(self.root)]

    def capture(self) -> tuple[float, float]:
        """The one set of data; whole, to the line in the journal."""
        return timed(self.words("capture", "host=me", "data=bench"), self.env)

    def anew(self) -> tuple[float, float]:
        """Into a new repository, where nothing of this content is yet, as for the peer."""
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.rmtree(Path(self.env["XDG_STATE_HOME"]) / "strata/bench/", ignore_errors=True)
        init(self.store, self.password, self.env)
        timed(self.words("capture", "host=me", "data=identity"), self.env)  # a lab in use
        return self.capture()


class Demo:
    """A copy of the example lab, of which web1 is real."""

    def __init__(self, base: Path, env) -> None:
        self.root, self.env = base / "demo", env
        shutil.copytree(ROOT / "personas", self.root / "personas")
        for name, text in {
            "lab.yaml": "name: benchrebuild\nproviders: {box: {kind: qemu}}\n"
            "vars: {motd_owner: a bench}\n"
            "capture: {repository: {url: store, password: !secret restic}}\n",
            "inventory/hosts.yaml": "hosts: {web1: {persona: web, provider: box,"
            f" machine: {{ports: !override {{{free_port()}: 8080}}}}}}}}\n",
        }.items():
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).write_text(text)

    def lab(self, *words: str) -> str:
        argv = [sys.executable, "-m", "lab.cli", "-C", str(self.root), *words]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rebuild(base: Path, env) -> bool:
    """Whether the claim holds; prints what was measured."""
    lab = Demo(base, env)
    for words in (["secrets", "init"], ["secrets", "generate", "restic"]):
        lab.lab(*words)
    typed = ("host=web1", "--yes", "--no-input", "--confirm", "web1")
    lab.lab("converge", "l1", "host=web1", "--yes", "--no-input")
    try:
        began = time.monotonic()
        lab.lab("converge", "host=web1", "--yes", "--no-input")
        first = time.monotonic() - began
        page = "sudo sh -c 'echo kept >/srv/start/page'"  # a set that is empty is no capture
        lab.lab("ssh", "web1", "--", page)
        began = time.monotonic()
        steps = json.loads(lab.lab("rebuild", *typed, "--json"))["steps"]
        whole = time.monotonic() - began
    finally:
        lab.lab("destroy", *typed, "--with-data", "--forget")
    spent = {s["step"]: s["seconds"] for s in steps}
    ratio = (whole - spent["capture"] - spent["again"]) / first
    print("web1 of the example, its template ready")
    print(f"  first converge {first:6.1f} s")
    print(f"  rebuild        {whole:6.1f} s:", ", ".join(f"{k} {v:.1f}" for k, v in spent.items()))
    verdict = "holds" if ratio <= REBUILD_BAR else "DOES NOT HOLD"
    print(f"  ratio {ratio:.2f} without capturing, claimed at most {REBUILD_BAR}: {verdict}")
    return ratio <= REBUILD_BAR


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vm", action="store_true", help="the second part, and only that")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="strata-bench-") as folder:
        base = Path(folder)
        names = ("STATE_HOME", "CACHE_HOME", "DATA_HOME", "CONFIG_HOME", "RUNTIME_DIR")
        env = {**os.environ, **{f"XDG_{n}": str(base / n.lower()) for n in names}}
        env |= {"PYTHONPATH": str(ROOT), "HOME": str(base)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed lab does not compile itself anew
        if asked.vm:
            return 0 if rebuild(base, env) else 1
        data = base / "data"
        data.mkdir()
        write_files(data, asked.files, asked.mib << 20)
        lab = OurLab(base, data, env)
        peers, ours = [], []
        for _ in range(asked.times):
            peers.append(plain(base, data, env))
            ours.append(lab.anew())
            pair = f"{peers[-1][0]:.2f} s and {ours[-1][0]:.2f} s"
            used = f"{peers[-1][1]:.2f} s and {ours[-1][1]:.2f} s of processor"
            print(f"  plain restic and lab capture: {pair}, {used}", file=sys.stderr, flush=True)
        again = lab.capture()
    clock = [statistics.median(r[0] for r in runs) for runs in (peers, ours)]
    used = [statistics.median(r[1] for r in runs) for runs in (peers, ours)]
    ratio = clock[1] / clock[0]
    print(f"{asked.mib} MiB in {asked.files:,} files, median of {asked.times}")
    print(f"  plain restic   {clock[0]:6.2f} s   {used[0]:6.2f} s of processor")
    print(f"  lab capture    {clock[1]:6.2f} s   {used[1]:6.2f} s of processor")
    print(f"  lab capture, nothing changed since: {again[0]:.2f} s")
    verdict = "holds" if ratio <= BAR else "DOES NOT HOLD"
    print(f"  ratio {ratio:.2f}, claimed at most {BAR}: {verdict}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

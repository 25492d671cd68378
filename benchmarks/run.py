"""What is claimed about speed, measured here and now, beside a peer or a limit of this machine.

    just bench                 all that needs no VM
    just bench --vm host=web1  also the no-op converge of a running demo, against bare ssh logins

A figure is the median of several runs; a claim that does not hold ends in exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.journal import Journal
from lab.model.recovered import CaptureRecord, DrillRecord

ROOT = Path(__file__).resolve().parents[1]
LAB = str(Path(sys.executable).with_name("lab"))
PERSONA = """
purpose: a bench
image: {base: debian-13, packages: [curl]}
machine:
  cpu: 2
  memory: 1GiB
  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true, mount: /srv}}
system:
  packages: [curl, htop]
  directories: {/srv/x: {mode: "0755"}}
"""


def timed(argv, *, env=None, cwd=None, ok=(0,)):
    """Seconds and peak MiB of one program run."""
    start = time.monotonic()
    with subprocess.Popen(argv, env=env, cwd=cwd, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ok:
        raise SystemExit(f"{argv} ended with {process.returncode}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def median(argv, times, **more):
    runs = [timed(argv, **more) for _ in range(times)]
    return statistics.median(r[0] for r in runs), max(r[1] for r in runs)


def write_lab(folder: Path, hosts: int) -> None:
    (folder / "personas").mkdir()
    (folder / "inventory").mkdir()
    (folder / "lab.yaml").write_text("name: bench\nproviders:\n  box: {kind: memory}\n")
    (folder / "personas/web.yaml").write_text(PERSONA)
    lines = [
        f"  h{i}: {{persona: web, provider: box, tags: [rack-{i % 40}], vars: {{number: {i}}}}}\n"
        for i in range(hosts)
    ]
    (folder / "inventory/hosts.yaml").write_text("hosts:\n" + "".join(lines))


class Claims:
    def __init__(self):
        self.rows = []

    def add(self, what, value, limit, unit, beside=""):
        self.rows.append(
            {"what": what, "value": round(value, 3), "limit": limit, "unit": unit, "beside": beside}
        )
        mark = "ok  " if value <= limit else "MISS"
        print(f"{mark} {what:<46} {value:8.3f} {unit:<4} limit {limit:<6} {beside}", flush=True)

    @property
    def held(self):
        return all(r["value"] <= r["limit"] for r in self.rows)


def without_vm(claims, times):
    python, _ = median([sys.executable, "-c", "pass"], times)
    help_, _ = median([LAB, "--help"], times)
    claims.add("lab --help", help_, 0.15, "s", f"{help_ / python:.1f} x an empty Python")
    for hosts, verb, limit, memory, ok in (
        (1_000, "validate", 2.0, 200, (0,)),
        (10_000, "plan", 20.0, 1024, (2,)),
    ):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_lab(folder, hosts)
            env = {**os.environ, "XDG_STATE_HOME": f"{name}/state"}
            load = "import yaml,sys; yaml.load(open(sys.argv[1]), Loader=yaml.CSafeLoader)"
            peer, _ = timed([sys.executable, "-c", load, f"{name}/inventory/hosts.yaml"])
            runs = times if hosts < 5_000 else 1
            seconds, peak = median([LAB, "-C", name, verb, "--quiet"], runs, env=env, ok=ok)
            beside = f"{seconds / peer:.1f} x PyYAML only reading the inventory"
            claims.add(f"lab {verb} of {hosts} memory hosts", seconds, limit, "s", beside)
            claims.add(f"lab {verb} of {hosts} memory hosts, peak", peak, memory, "MiB")


def touched(claims, times):
    """A real push of one host's edit into a lab of 1,000: how long finding that host takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lab"
        folder.mkdir()
        write_lab(folder, 1_000)
        git = ["git", "-C", str(folder), "-c", "user.name=b", "-c", "user.email=b@example.org"]
        hosts = folder / "inventory/hosts.yaml"
        for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "a"]):
            subprocess.run([*git, *words], check=True)
        hosts.write_text(hosts.read_text().replace("number: 500}", "number: -1}"))
        env = {**os.environ, "XDG_STATE_HOME": f"{name}/state"}
        argv = [LAB, "-C", str(folder), "plan", "--against", "main", "--json"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        planned = {p["host"] for p in json.loads(done.stdout.splitlines()[-1])["parts"]} - {""}
        if planned != {"h500"}:
            raise SystemExit(f"the commit touches h500, and {sorted(planned)[:3]} was found")
        validate, _ = median([LAB, "-C", str(folder), "validate", "--quiet"], times, env=env)
        seconds, peak = median([*argv, "--quiet"], times, env=env, ok=(2,))
        load = (
            "import yaml,sys; [yaml.load(open(f), Loader=yaml.CSafeLoader) for f in sys.argv[1:]]"
        )
        limit, _ = median([sys.executable, "-c", load, str(hosts), str(hosts)], times)
        beside = f"{seconds / limit:.1f} x PyYAML reading both inventories,"
        beside += f" {seconds / validate:.1f} x lab validate"
        claims.add("which of 1000 hosts a commit touches", seconds, 2.0, "s", beside)
        claims.add("which of 1000 hosts a commit touches, peak", peak, 300, "MiB")


READ = """
import sqlite3, sys, yaml
for path in sys.argv[2:]:
    yaml.load(open(path), Loader=yaml.CSafeLoader)
sqlite3.connect(sys.argv[1]).execute("SELECT * FROM part").fetchall()
"""


def status(claims, times):
    """50 hosts with a month of runs, captures and drills; beside it: only reading those files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lab(folder, 50)
        with (folder / "personas/web.yaml").open("a") as persona:
            persona.write("lifecycle: {capture: daily, drill: 30d, rto: 10m, rpo: 2d}\n")
        env = {**os.environ, "XDG_STATE_HOME": f"{name}/state"}
        argv = [LAB, "-C", name, "converge", "--yes", "--quiet"]
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
        journal = Path(name, "state/strata/bench/journal.db")
        with_a_past(journal, days=30)
        files = [f"{name}/{n}" for n in ("lab.yaml", "personas/web.yaml", "inventory/hosts.yaml")]
        argv = [LAB, "-C", name, "status"]
        shown = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if shown.returncode != 0 or "none behind" not in shown.stdout:
            raise SystemExit(
                f"50 converged, captured and drilled hosts were told as {shown.stdout}"
            )
        python, _ = median([sys.executable, "-c", "pass"], times)
        limit, _ = median([sys.executable, "-c", READ, str(journal), *files], times)
        seconds, peak = median(argv, times, env=env)
        beside = (
            f"{seconds / limit:.1f} x only reading its files, {seconds / python:.0f} x an empty"
        )
        claims.add("lab status of 50 hosts", seconds, 0.5, "s", f"{beside} Python")
        claims.add("lab status of 50 hosts, peak", peak, 150, "MiB")


def with_a_past(path: Path, days: int) -> None:
    """Earlier runs of every part, and for every host captures and a drill."""
    now = time.time()
    db = sqlite3.connect(path)
    with db:
        db.execute("CREATE TEMP TABLE now AS SELECT * FROM part")
        db.execute("DELETE FROM part")
        copy = "SELECT run, host, layer, part, outcome, spec, ended-?, report FROM now"
        for day in range(days - 1, -1, -1):
            db.execute(f"INSERT INTO part {copy}", (day * 86400,))
    db.close()
    journal = Journal(path.parent)
    for n in range(50):
        for day in range(3):
            at = now - 60 - day * 86400
            for data in ("x", "identity"):
                record = CaptureRecord(f"h{n}", data, at, f"{data}{day}", 9, 9, "", "", at)
                journal.keep_capture(record)
        journal.keep_drill(DrillRecord(f"h{n}", now - 86400, True, 60.0, 60.0, 0))
    journal.close()


def with_vm(claims, selector, times):
    """The second demo run, against what ten bare ssh logins in a row would take."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    report = subprocess.run(
        [LAB, "verify", selector, "--json"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    handed = json.loads(report.stdout.splitlines()[-1])["handed"]
    host, values = next(iter(handed.items()))
    known = state / "strata"
    with tempfile.NamedTemporaryFile("w", suffix=".known_hosts") as file:
        file.write(f"{host} {values['host_key']}\n")
        file.flush()
        ssh = ["ssh", "-F", "none", "-i", values["identity_file"], "-p", str(values["port"])]
        ssh += ["-o", f"UserKnownHostsFile={file.name}", "-o", f"HostKeyAlias={host}"]
        ssh += ["-o", "BatchMode=yes", f"{values['user']}@{values['address']}", "true"]
        login, _ = median(ssh, times)
    again, _ = median([LAB, "converge", selector, "--yes", "--no-input"], times, cwd=ROOT)
    claims.add("converge with nothing to do", again, 10.0, "s", f"{again / login:.1f} x ssh true")
    verify, _ = median([LAB, "verify", selector], times, cwd=ROOT)
    claims.add("verify with nothing to do", verify, 10.0, "s", f"{verify / login:.1f} x ssh true")
    print(f"     (a bare ssh login takes {login:.2f} s; state in {known})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--vm", metavar="SELECTOR")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    claims = Claims()
    without_vm(claims, options.times)
    touched(claims, options.times)
    status(claims, options.times)
    if options.vm:
        with_vm(claims, options.vm, options.times)
    if options.json:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        options.json.write_text(json.dumps({"claims": claims.rows, "cpu": usage}, indent=1))
    return 0 if claims.held else 1


if __name__ == "__main__":
    sys.exit(main())

"""L3 beside its peers on one fleet: nothing to change, the first run, and how it grows.

    just bench-fleet                         1, 10 and 50 sandbox hosts, all peers, about 15 minutes
    just bench-fleet --quick                 10 hosts; lab, pyinfra and bare ssh only

Every host has the same resources: 3 groups, 5 users, 7 directories, 15 files, 9 packages in one
transaction, 2 services. Each tool does its own idiom of exactly that. The hosts are containers that
`lab converge l2` makes (provider kind docker); to L3 they are machines that are there already
(provider kind existing), as they are to the peers, which know nothing of the layers below.

A ratio is taken within one round, where every tool ran once, and its median over the rounds is
compared with the claim; what misses its claim ends in exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
LAB = str(BIN / "lab")
FIRST_PORT = 24000
GROUPS = {f"g{i}": 4200 + i for i in range(3)}
USERS = {f"u{i}": 4300 + i for i in range(5)}
DIRECTORIES = {f"/srv/d{i}": f"u{i % 5}" for i in range(7)}
FILES = {f"/srv/d{i % 7}/f{i}.conf": f"u{i % 5}" for i in range(15)}
PACKAGES = ["acl", "bc", "file", "jq", "less", "lsof", "pv", "tree", "zstd"]
SERVICES = ["cron", "ssh"]


def content(path: str) -> str:
    return f"# {path}\n" + "".join(f"key{i} = {i * 7}\n" for i in range(40))


@dataclass
class Fleet:
    """Hosts that are up, and the folder with every tool's idea of them."""

    folder: Path
    env: dict[str, str]
    hosts: dict[str, dict] = field(default_factory=dict)

    def only(self, count: int) -> Fleet:
        return Fleet(self.folder, self.env, dict(list(self.hosts.items())[:count]))

    def run(self, argv, *, ok=(0,), cwd=None, env=None):
        """(seconds, peak MiB, output) of a program; its output on failure."""
        log = self.folder / "last.log"
        start = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                cwd=cwd or self.folder, env={**self.env, **(env or {})},
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        text = log.read_text(errors="replace")
        if process.returncode not in ok:
            bugs = "".join(b.read_text()[-2000:] for b in self.folder.glob("state/strata/bugs/*"))
            raise SystemExit(f"{text[-3000:]}\n{bugs}{argv} ended with {process.returncode}")
        return seconds, usage.ru_maxrss / 1024, text


@contextmanager
def fleet(count: int):
    """``count`` sandbox hosts in a lab of their own, deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="strata-fleet-"))
    ours = ("ANSIBLE_", "STRATA_", "PYTHON")
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    env |= {"XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}
    made = Fleet(folder, env)
    lab = folder / "machines"
    write(lab / "lab.yaml", "name: bench\nproviders:\n  box: {kind: docker}\n")
    write(
        lab / "personas/host.yaml",
        "image: {base: debian-13, packages: [cron, python3-apt]}\n"
        "machine: {cpu: 1, memory: 256MiB, disks: {root: {size: 8GiB}}, login: {user: bench}}\n"
        "system: none\n",
    )
    names = [f"bench{i:02}" for i in range(count)]
    write(
        lab / "inventory/hosts.yaml",
        "hosts:\n" + "".join(f"  {n}: {{persona: host, provider: box}}\n" for n in names),
    )
    try:
        print(f"making {count} hosts", flush=True)
        seconds, _, _ = made.run([LAB, "-C", str(lab), "converge", "--yes", "--no-input"])
        print(f"  {seconds:.0f} s, the template included", flush=True)
        _, _, text = made.run([LAB, "-C", str(lab), "verify", "--json"])
        handed = json.loads(text.splitlines()[-1])["handed"]
        made.hosts = {name: handed[name] for name in names}
        prepare(made)
        write_tools(made)
        yield made
    finally:
        typed = [word for name in names for word in ("--confirm", name)]
        made.run([LAB, "-C", str(lab), "destroy", "--all", "--yes", "--no-input", *typed])
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ssh(fleet: Fleet, name: str, *command: str) -> list[str]:
    host = fleet.hosts[name]
    known = fleet.folder / "known_hosts"
    options = ["-F", "none", "-i", host["identity_file"], "-p", str(host["port"])]
    options += ["-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
    return ["ssh", *options, f"{host['user']}@{host['address']}", *command]


def prepare(fleet: Fleet) -> None:
    """Package lists, apt's cache and archives are on every host: no tool waits for a mirror."""
    lines = [f"[{h['address']}]:{h['port']} {h['host_key']}\n" for h in fleet.hosts.values()]
    write(fleet.folder / "known_hosts", "".join(lines))
    first, *others = fleet.hosts
    fetch = f"sudo apt-get -q update && sudo apt-get -q -y -d install {' '.join(PACKAGES)}"
    subprocess.run(ssh(fleet, first, fetch), check=True, capture_output=True)
    pack = "sudo tar -C / -cf - var/lib/apt/lists var/cache/apt"
    # by way of a file: a child's peak memory begins with that of the process that started it
    archive = fleet.folder / "apt.tar"
    with archive.open("wb") as file:
        subprocess.run(ssh(fleet, first, pack), check=True, stdout=file)
    for name in others:
        with archive.open("rb") as file:
            subprocess.run(ssh(fleet, name, "sudo tar -C / -xf -"), check=True, stdin=file)
    archive.unlink()


def write_tools(fleet: Fleet) -> None:
    folder = fleet.folder
    for path in FILES:
        write(folder / "files" / path.replace("/", "_"), content(path))
    write_lab(fleet)
    write_ansible(folder)
    write_pyinfra(folder)


def write_lab(fleet: Fleet) -> None:
    lab = fleet.folder / "lab"
    write(lab / "lab.yaml", "name: bench-l3\nproviders:\n  there: {kind: existing}\n")
    system = {
        "groups": {name: {"gid": gid} for name, gid in GROUPS.items()},
        "users": {n: {"uid": u, "groups": ["g0"], "shell": "/bin/sh"} for n, u in USERS.items()},
        "directories": {p: {"mode": "0750", "owner": o} for p, o in DIRECTORIES.items()},
        "files": {p: {"content": content(p), "mode": "0640", "owner": o} for p, o in FILES.items()},
        "packages": PACKAGES,
        "services": dict.fromkeys(SERVICES, "running"),
    }
    write(lab / "personas/host.yaml", json.dumps({"system": system}, indent=1))
    entries = {
        name: {
            "persona": "host",
            "provider": "there",
            "address": h["address"],
            "existing": {k: h[k] for k in ("user", "port", "host_key", "identity_file")},
        }
        for name, h in fleet.hosts.items()
    }
    write(lab / "inventory/hosts.yaml", json.dumps({"hosts": entries}, indent=1))


def write_ansible(folder: Path) -> None:
    task = [{"group": {"name": n, "gid": g}} for n, g in GROUPS.items()]
    task += [
        {"user": {"name": n, "uid": u, "groups": ["g0"], "append": True, "shell": "/bin/sh"}}
        for n, u in USERS.items()
    ]
    task += [
        {"file": {"path": p, "state": "directory", "mode": "0750", "owner": o}}
        for p, o in DIRECTORIES.items()
    ]
    task += [
        {"copy": {"dest": p, "src": f"files/{p.replace('/', '_')}", "mode": "0640", "owner": o}}
        for p, o in FILES.items()
    ]
    task.append({"apt": {"name": PACKAGES}})
    task += [{"service": {"name": s, "state": "started", "enabled": True}} for s in SERVICES]
    play = [{"hosts": "all", "gather_facts": False, "become": True, "tasks": task}]
    write(folder / "site.yml", json.dumps(play, indent=1))
    write(
        folder / "ansible.cfg",
        "[defaults]\nforks = 50\nhost_key_checking = True\ninterpreter_python = /usr/bin/python3\n"
        "[ssh_connection]\npipelining = True\n",
    )


def write_pyinfra(folder: Path) -> None:
    write(
        folder / "deploy.py",
        f"""
from pyinfra.operations import apt, files, server, systemd

GROUPS, USERS, DIRECTORIES, FILES = {GROUPS!r}, {USERS!r}, {DIRECTORIES!r}, {FILES!r}
for name, gid in GROUPS.items():
    server.group(group=name, gid=gid)
for name, uid in USERS.items():
    server.user(user=name, uid=uid, groups=["g0"], append=True, shell="/bin/sh")
for path, owner in DIRECTORIES.items():
    files.directory(path=path, mode="0750", user=owner)
for path, owner in FILES.items():
    files.put(src="files/" + path.replace("/", "_"), dest=path, mode="0640", user=owner)
apt.packages(packages={PACKAGES!r}, no_recommends=True)
for name in {SERVICES!r}:
    systemd.service(service=name + ".service", running=True, enabled=True)
""",
    )


def inventories(fleet: Fleet, count: int) -> Fleet:
    """The first ``count`` hosts, and the peers' inventories of exactly those."""
    some = fleet.only(count)
    hosts = {
        name: {
            "ansible_host": h["address"],
            "ansible_port": h["port"],
            "ansible_user": h["user"],
            "ansible_ssh_private_key_file": h["identity_file"],
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={fleet.folder}/known_hosts",
        }
        for name, h in some.hosts.items()
    }
    write(fleet.folder / "hosts.json", json.dumps({"all": {"hosts": hosts}}))
    lines = [
        (
            name,
            {
                "ssh_hostname": h["address"],
                "ssh_port": h["port"],
                "ssh_user": h["user"],
                "ssh_key": h["identity_file"],
                "ssh_known_hosts_file": str(fleet.folder / "known_hosts"),
                "_sudo": True,
            },
        )
        for name, h in some.hosts.items()
    ]
    write(fleet.folder / "inventory.py", f"hosts = {lines!r}\n")
    return some


def bare(fleet: Fleet) -> float:
    """All logins at once: the physical limit."""
    start = time.monotonic()
    logins = [
        subprocess.Popen(ssh(fleet, name, "true"), stdin=subprocess.DEVNULL) for name in fleet.hosts
    ]
    statuses = [p.wait() for p in logins]
    if any(statuses):
        raise SystemExit("a bare ssh login failed")
    return time.monotonic() - start


def lab(fleet: Fleet):
    argv = [LAB, "-C", str(fleet.folder / "lab"), "converge", "l3"]
    return fleet.run([*argv, *(f"host={n}" for n in fleet.hosts), "--yes", "--no-input"])


def pyinfra(fleet: Fleet):
    return fleet.run([str(BIN / "pyinfra"), "-y", "inventory.py", "deploy.py"])


def ansible(fleet: Fleet, **more: str):
    argv = [str(BIN / "ansible-playbook"), "-i", "hosts.json", "site.yml"]
    return fleet.run(argv, env={"ANSIBLE_CONFIG": str(fleet.folder / "ansible.cfg"), **more})


def mitogen(fleet: Fleet):
    import ansible_mitogen  # noqa: PLC0415 (only where it is compared with)

    plugins = Path(ansible_mitogen.__file__).parent / "plugins/strategy"
    more = {"ANSIBLE_STRATEGY_PLUGINS": str(plugins), "ANSIBLE_STRATEGY": "mitogen_linear"}
    return ansible(fleet, **more)


class Table:
    """Claims and figures: printed as they come, kept for the JSON."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def claim(self, what: str, value: float, limit: float, *, at_most: bool, unit: str) -> None:
        held = value <= limit if at_most else value >= limit
        word = "at most" if at_most else "at least"
        mark = "ok  " if held else "MISS"
        print(f"{mark} {what:<58} {value:8.2f} {unit:<4} {word} {limit:g}", flush=True)
        self.rows.append(
            {"what": what, "value": value, "limit": limit, "bound": word, "unit": unit, "ok": held}
        )

    def figure(self, what: str, seconds: list[float]) -> None:
        low, mid, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"     {what:<58} {mid:8.2f} s    ({low:.2f} to {high:.2f})", flush=True)
        self.rows.append({"what": what, "seconds": seconds, "median": mid})


def first_run(table: Table, everyone: Fleet, count: int) -> None:
    """Each tool's first run, on hosts that nobody has touched."""
    names = list(everyone.hosts)
    ours = Fleet(everyone.folder, everyone.env, {n: everyone.hosts[n] for n in names[:count]})
    theirs = {n: everyone.hosts[n] for n in names[count : 2 * count]}
    seconds, _, text = lab(ours)
    assert " changes on " in text, text
    inventories(Fleet(everyone.folder, everyone.env, theirs), count)
    peer, _, _ = pyinfra(everyone)
    table.figure(f"first run of {count} hosts: lab", [seconds])
    table.figure(f"first run of {count} hosts: pyinfra", [peer])
    table.claim("first run: pyinfra / lab", peer / seconds, 3.0, at_most=False, unit="x")


def no_op(table: Table, everyone: Fleet, count: int, rounds: int, peers: dict) -> dict:
    """``rounds`` rounds with nothing to change; ratios are taken within a round."""
    some = inventories(everyone, count)
    lab(some)
    times: dict[str, list[float]] = {"ssh": [], "lab": [], **{name: [] for name in peers}}
    peak = 0.0
    for index in range(rounds):
        times["ssh"].append(bare(some))
        seconds, used, text = lab(some)
        assert "\n0 changes." in text, text
        times["lab"].append(seconds)
        peak = max(peak, used)
        for name, (tool, most) in peers.items():
            if index < most:
                times[name].append(tool(some)[0])
    for name, seconds in times.items():
        table.figure(f"nothing to change on {count} hosts: {name}", seconds)
    ratios = [a / b for a, b in zip(times["lab"], times["ssh"], strict=True)]
    return {"times": times, "peak": peak, "ratio": statistics.median(ratios)}


def beside(found: dict, name: str) -> float:
    pairs = zip(found["times"][name], found["times"]["lab"], strict=False)
    return statistics.median(a / b for a, b in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="10 hosts, no Ansible")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    table = Table()
    with fleet(20 if options.quick else 50) as everyone:
        first_run(table, everyone, 10)
        peers = {"pyinfra": (pyinfra, 2)}
        if not options.quick:
            peers |= {"mitogen": (mitogen, 2), "ansible": (ansible, 1)}
        ten = no_op(table, everyone, 10, options.rounds, peers)
        table.claim("10 hosts: lab / ten bare logins", ten["ratio"], 1.5, at_most=True, unit="x")
        for name, least in (("pyinfra", 10.0), ("mitogen", 15.0), ("ansible", 50.0)):
            if name in peers:
                what = f"10 hosts: {name} / lab"
                table.claim(what, beside(ten, name), least, at_most=False, unit="x")
        if not options.quick:
            one = no_op(table, everyone, 1, options.rounds, {})
            fifty = no_op(table, everyone, 50, options.rounds, {})
            what = "50 hosts: lab / bare logins, against the same at 10"
            growth = fifty["ratio"] / ten["ratio"]
            table.claim(what, growth, 1.0, at_most=True, unit="x")
            what = "10 hosts: lab / bare logins, against the same at 1"
            table.claim(what, ten["ratio"] / one["ratio"], 1.0, at_most=True, unit="x")
            table.claim("50 hosts: peak memory", fifty["peak"], 150, at_most=True, unit="MiB")
    if options.json:
        machine = {"cores": os.cpu_count(), "kernel": os.uname().release}
        options.json.write_text(json.dumps({"machine": machine, "rows": table.rows}, indent=1))
    return 0 if all(row.get("ok", True) for row in table.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""A real lab: a copy of the example, its own XDG folders, one real machine, driven from outside."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

LAB = str(Path(sys.executable).with_name("lab"))
REPOSITORY = Path(__file__).resolve().parents[2]
GUEST = r"""
dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' | sort
find /etc /opt /srv /usr/local -xdev -type f ! -name '*-' -print0 2>/dev/null |
  sort -z | xargs -0 sha256sum
getent passwd; getent group
sysctl -n vm.swappiness
systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1 |
  grep -v -e '^user@' -e '^apt-' -e '^session' -e '^systemd-tmpfiles' | sort
findmnt -rn -o TARGET,SOURCE,FSTYPE /srv
docker ps --format '{{.Names}} {{.Image}} {{.State}}'
docker inspect $(docker ps -q) --format '{{json .Config.Env}}'
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RealLab:
    """Drives `lab` as a user does, and looks at the machine without it."""

    def __init__(self, base: Path, name: str):
        self.base, self.name = base, name
        self.root = base / "lab"
        self.port = free_port()
        self.env = {
            **os.environ,
            "XDG_STATE_HOME": str(base / "state"),
            "XDG_CACHE_HOME": str(base / "cache"),
            "XDG_RUNTIME_DIR": str(base / "run"),
            "NO_COLOR": "1",
        }
        self.root.mkdir(parents=True)
        shutil.copytree(REPOSITORY / "personas", self.root / "personas")
        self.write(
            "lab.yaml",
            f"name: {name}\nproviders:\n  box: {{kind: qemu}}\nvars: {{motd_owner: a test}}\n",
        )
        self.overlay("")

    @property
    def state(self) -> Path:
        return self.base / "state/strata" / self.name

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def overlay(self, machine: str) -> None:
        """Declare web1 with something of its own under ``machine``."""
        more = f", {machine}" if machine else ""
        self.write(
            "inventory/hosts.yaml",
            "hosts:\n  web1:\n    persona: web\n    provider: box\n"
            f"    machine: {{ports: !override {{{self.port}: 8080}}{more}}}\n",
        )

    def lab(self, *words: str, ok=(0,), timeout=900) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [LAB, *words],
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        assert done.returncode in ok, f"{words}: {done.returncode}\n{said}"
        return done

    def report(self, *words: str, ok=(0,)) -> dict:
        """The report of a verb with --json."""
        lines = self.lab(*words, "--json", ok=ok).stdout.splitlines()
        last = json.loads(lines[-1])
        return last.get("report", last)

    def planned(self, ok=(0, 2)) -> list[tuple[str, str, str]]:
        """What `lab plan` names: (layer, action, what), sorted."""
        return changes(self.report("plan", "host=web1", ok=ok))

    def converge(self, *more: str) -> dict:
        return self.report("converge", "host=web1", "--yes", "--no-input", *more)

    def handed(self) -> dict:
        return self.report("verify", "host=web1", ok=(0, 2))["handed"]["web1"]

    def ssh(self, command: str, *, check=True) -> str:
        """A command on the machine, as root, without any code of ours; keys checked strictly."""
        if not hasattr(self, "_ssh"):
            values = self.handed()
            known = self.base / "known_hosts"
            known.write_text(f"web1 {values['host_key']}\n")
            self._ssh = ["ssh", "-F", "none", "-i", values["identity_file"]]
            self._ssh += ["-p", str(values["port"]), "-o", f"UserKnownHostsFile={known}"]
            self._ssh += ["-o", "HostKeyAlias=web1", "-o", "StrictHostKeyChecking=yes"]
            self._ssh += ["-o", "BatchMode=yes", f"{values['user']}@{values['address']}"]
        done = subprocess.run(
            [*self._ssh, "sudo sh -s"],
            input=command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def guest(self) -> str:
        """Everything on the machine that a plan is about."""
        return self.ssh(GUEST)

    def here(self) -> dict[str, str]:
        """Every file of this lab on this machine, but what the running machine itself writes.

        And but the notes of what to log in to at once next time: a cache.
        """
        written = (".qcow2", "serial.log", ".fd", ".sock", ".pid", "qmp")
        return {
            str(p.relative_to(self.base)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(self.base.rglob("*"))
            if p.is_file() and not p.name.endswith(written) and p.parent.name != "ahead"
        }

    def qemu(self) -> list[int]:
        """The process ids of this lab's machines."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"qemu-system" in words and str(self.base).encode() in words:
                    found.append(int(entry.name))
        return found


def changes(report: dict) -> list[tuple[str, str, str]]:
    return sorted(
        (p["layer"], c["action"], c["what"]) for p in report["parts"] for c in p["plan"]["changes"]
    )


@pytest.fixture(scope="session")
def real_lab():
    """The class, for labs that are not the session's one."""
    return RealLab


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """One real machine for the whole session, made from nothing; gone afterwards."""
    lab = RealLab(Path(tmp_path_factory.mktemp("real", numbered=True)), "e2e")
    cache = REPOSITORY / ".test-cache/images"
    fresh = os.environ.get("CI") == "true"
    if cache.is_dir() and not fresh:  # in CI everything is made from nothing
        shutil.copytree(cache, lab.state / "images", copy_function=os.link)
    yield lab
    subprocess.run(
        [LAB, "destroy", "host=web1", "--with-data", "--yes", "--confirm", "web1", "--no-input"],
        cwd=lab.root,
        env=lab.env,
        check=False,
        capture_output=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    for pid in lab.qemu():
        os.kill(pid, 9)

"""What every test needs: private XDG folders, so that no test sees or touches a real lab."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from lab import masking

# Machines that run tests are noisy; what must be quick is measured in benchmarks/.
settings.register_profile("strata", deadline=None)
settings.load_profile("strata")

REPOSITORY = Path(__file__).resolve().parents[1]

# Without byte code each process that a test starts would compile all of it anew: two seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def _private_folders(tmp_path_factory, monkeypatch):
    base = tmp_path_factory.mktemp("xdg")
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(base / name.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
    for name in ("NO_COLOR", "STRATA_FAULT", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _nothing_hidden_from_the_next_test():
    """What one test decrypted is hidden in its own output only."""
    yield
    masking.forget()


@pytest.fixture
def lab_dir(tmp_path):
    """Write a lab: ``lab_dir({"lab.yaml": "...", ...})`` returns its root."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.fixture
def repository():
    """The checkout's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The qcow2 of the example lab's web hosts; built where no earlier session kept one."""
    repository = Path(__file__).resolve().parents[1]
    kept = repository / ".test-cache/images"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("template")))
        from lab import Lab

        with Lab.load(repository) as lab:
            target = lab.plan("host=web1", layer="l1").handed["web1"]
            path = kept / str(target["template_name"]) / "disk.qcow2"
            if not path.exists():
                report = lab.converge("host=web1", layer="l1")
                assert report.exit_code == 0, [p.failure for p in report.parts]
                shutil.copytree(lab.workspace.state / "images", kept, dirs_exist_ok=True)
    return path


@contextlib.contextmanager
def _locked(path: Path, how: int):
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield file


def _answers(address: str | None) -> bool:
    words = ["docker", *(["--host", address] if address else []), "version"]
    try:
        return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def engine(tmp_path_factory, worker_id):
    """The address of a Docker engine: the one that is there, else one for this session alone.

    The processes of one session share it; the last one ends it.
    """
    from lab.clients.docker import usual_address

    if _answers(None):
        yield usual_address()
        return
    lacking = [p for p in ("dockerd", "docker", "ip") if shutil.which(p) is None]
    if os.geteuid() != 0 or lacking:
        what = f"{', '.join(lacking)} is missing" if lacking else "only root can start one"
        why = f"no Docker engine answers, and {what}: sudo apt-get install docker.io iproute2"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent
    script, known = REPOSITORY / "tests/engine.sh", common / "engine"
    with _locked(common / "engine-users", fcntl.LOCK_SH) as users:
        with _locked(common / "engine-start", fcntl.LOCK_EX):
            if not known.exists():
                folder = tempfile.mkdtemp(prefix="strata-engine-")  # short, for socket paths
                subprocess.run([script, "start", folder], check=True, timeout=120)
                known.write_text(folder)
        folder = known.read_text()
        yield f"unix://{folder}/docker.sock"
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            known.unlink()
            subprocess.run([script, "stop", folder], check=True, timeout=120)


def _docker(engine: str, *words: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["docker", "--host", engine, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@dataclass(frozen=True)
class SandboxHost:
    """A host that is a container: how to reach it, and what a test may do to it."""

    name: str
    address: str
    port: int
    user: str
    host_key: str
    identity_file: str
    container: str
    engine: str
    endpoints: dict

    def docker(self, *words: str, stdin: str = "") -> str:
        return _docker(self.engine, *words, stdin=stdin)

    def run(self, script: str) -> str:
        """As root, on the host."""
        return self.docker("exec", "-i", self.container, "sh", "-s", stdin=script)

    def kill(self) -> None:
        """Cut its power."""
        self.docker("kill", self.container)

    def start(self) -> None:
        """Give it power again; returns when its SSH answers."""
        self.docker("start", self.container)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((self.address, self.port), 1) as line,
            ):
                line.settimeout(1)
                if line.recv(4) == b"SSH-":
                    return
            time.sleep(0.05)
        raise TimeoutError(self.name)

    def remove(self) -> None:
        """It is gone, and the next one of that name is new."""
        self.docker("rm", "--force", "--volumes", self.container)


# What tests of the system layer want to find; and the example's web hosts, with an engine inside.
PERSONAS = {
    "plain": "busybox-static, cron, curl, gnupg, iptables, kmod, locales, nftables, opendoas, "
    "python3-apt, tzdata",
    "docker": "docker.io, docker-cli, docker-compose, curl",
    "database": "postgresql, sqlite3",
}


class Sandbox:
    """Makes hosts in about a second each: a lab of kind docker, in folders of its own."""

    def __init__(self, base: Path, engine: str, name: str, turn: Path) -> None:
        self.engine, self._name, self._base, self._turn = engine, name, base, turn
        self.root = base / "lab"
        self._hosts: dict[str, str] = {}
        self._built: dict[str, tuple[str, str]] = {}
        for persona, packages in PERSONAS.items():
            path = self.root / "personas" / f"{persona}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                f"image: {{base: debian-13, packages: [{packages}]}}\n"
                "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n"
                "system: none\n"
            )
        provider = f"{{kind: docker, host: 'unix://{engine.removeprefix('unix://')}'}}"
        (self.root / "lab.yaml").write_text(f"name: {name}\nproviders: {{box: {provider}}}\n")

    def host(
        self, name: str, persona: str = "plain", ports: dict[int, int] | None = None
    ) -> SandboxHost:
        """That host, up; made where it is not there. ``ports``: of this machine, to its own."""
        self.template(persona)
        overlay = f", machine: {{ports: {ports}}}" if ports else ""
        self._hosts[name] = f"{{persona: {persona}, provider: box{overlay}}}"
        with self._lab() as lab:
            report = lab.converge(f"host={name}", layer="l2")
            assert report.exit_code == 0, [p.failure for p in report.parts if p.failure]
        handed = report.handed[name]
        return SandboxHost(
            name=name,
            **{k: handed[k] for k in ("address", "port", "user", "host_key", "identity_file")},
            container=f"strata-{self._name}-{name}",
            engine=self.engine,
            endpoints=handed["endpoints"],
        )

    def template(self, persona: str = "plain") -> tuple[str, str]:
        """What the engine calls the image of that persona, and its name."""
        if persona not in self._built:
            with _locked(self._turn, fcntl.LOCK_EX):  # by one process; the others take its own
                self._built[persona] = self._build(persona)
        return self._built[persona]

    def docker(self, *words: str) -> str:
        return _docker(self.engine, *words)

    def close(self) -> None:
        """Everything it made goes, also what a test broke."""
        from lab import Approval

        with self._lab() as lab:
            allowed = Approval(allow_destroy=True, confirmed=frozenset(lab.inventory.hosts))
            lab.destroy(approval=allowed, with_data=True)

    def _build(self, persona: str) -> tuple[str, str]:
        """Out of the cache, where an earlier session left it."""
        self._hosts[f"of-{persona}"] = f"{{persona: {persona}, provider: box}}"
        with self._lab() as lab:
            template = lab.plan(f"host=of-{persona}", layer="l1").handed[f"of-{persona}"]
            name, image = template["template_name"], template["template"]
            kept = REPOSITORY / ".test-cache/containers" / f"{name}.tar"
            cached = kept.exists() and os.environ.get("CI") != "true"
            if cached:
                self.docker("load", "--quiet", "--input", str(kept))
            report = lab.converge(f"host=of-{persona}", layer="l1")
            assert report.exit_code == 0, [p.failure for p in report.parts if p.failure]
            if not cached and os.environ.get("CI") != "true":
                kept.parent.mkdir(parents=True, exist_ok=True)
                new = kept.with_suffix(f".{os.getpid()}")
                self.docker("tag", image, f"strata/{name}:test-cache")
                self.docker("save", "--output", str(new), f"strata/{name}:test-cache")
                new.rename(kept)
            with contextlib.suppress(AssertionError):  # it came neither from nor to the cache
                self.docker("rmi", f"strata/{name}:test-cache")
            return image, name

    @contextlib.contextmanager
    def _lab(self):
        from lab import Lab

        lines = [f"  {name}: {entry}\n" for name, entry in self._hosts.items()]
        path = self.root / "inventory/hosts.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("hosts:\n" + "".join(lines))
        with pytest.MonkeyPatch.context() as patch:
            for name in ("STATE_HOME", "CACHE_HOME", "RUNTIME_DIR"):
                patch.setenv(f"XDG_{name}", str(self._base / name.lower()))
            with Lab.load(self.root) as lab:
                yield lab


@pytest.fixture(scope="session")
def sandbox(engine, tmp_path_factory, worker_id):
    """Hosts in a second: ``sandbox.host("a")``; every process of a session has its own."""
    base = tmp_path_factory.getbasetemp()
    turn = (base if worker_id == "master" else base.parent) / "template-build"
    made = Sandbox(tmp_path_factory.mktemp("sandbox"), engine, f"t{os.getpid()}", turn)
    yield made
    made.close()


_WITHOUT_A_MACHINE = 900  # seconds longer for what is over in minutes, even on a slow machine


def pytest_runtest_setup(item):
    """Say what is missing instead of failing; in CI what can be installed must be there."""
    until = float(os.environ.get("STRATA_TESTS_UNTIL") or "inf")
    a_machine = any(item.get_closest_marker(m) for m in ("vm", "build"))
    if time.time() > until + (0 if a_machine else _WITHOUT_A_MACHINE):
        pytest.skip("out of time: this machine is too slow to run all tests within CI's limit")
    needs = {
        "vm": ("qemu-system-x86_64", "qemu-img", "mcopy", "ssh"),
        "build": ("mmdebstrap", "mcopy", "sfdisk", "qemu-img"),
        "engine": ("mmdebstrap", "docker", "ssh"),
    }
    for marker, programs in needs.items():
        if item.get_closest_marker(marker):
            missing = [p for p in programs if shutil.which(p) is None]
            if missing and os.environ.get("CI") == "true":
                pytest.fail(f"in CI {', '.join(missing)} must be there: ./bootstrap installs it")
            if missing:
                pytest.skip(f"needs {', '.join(missing)}: ./bootstrap installs it")

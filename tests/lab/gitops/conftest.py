"""A lab of memory hosts in a real git repository, pushed to a real bare one with real hooks."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.gitops.follower import Follower, folder_of
from lab.gitops.settings import Settings
from lab.gitops.steps import Ended, Looked
from lab.gitops.store import State

REPOSITORY = Path(__file__).resolve().parents[3]
PERSONA = (
    "purpose: a server\nimage: {base: debian-13}\n"
    "machine:\n  cpu: 1\n  memory: 1GiB\n"
    "  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true}}\n"
    "system:\n  packages: [curl]\n  files: {/etc/motd: {source: motd, mode: '0644'}}\n"
)
FILES = {
    "lab.yaml": "name: home\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": PERSONA,
    "personas/web/motd": "hello\n",
    "personas/db.yaml": PERSONA,
    "personas/db/motd": "a database\n",
    "inventory/hosts.yaml": "hosts:\n"
    "  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box, after: [web1]}\n"
    "  db1: {persona: db, provider: box}\n",
}


class Clone:
    """A working copy and the bare repository it is pushed to, driven from outside."""

    def __init__(self, base: Path):
        self.at(base).root.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "me")
        self.git("config", "user.email", "me@example.org")
        for name, text in FILES.items():
            self.write(name, text)

    def at(self, base):
        self.base, self.root, self.bare = base, base / "work", base / "home.git"
        return self

    @property
    def env(self):
        keep = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return {**keep, "PYTHONPATH": str(REPOSITORY), "GIT_CONFIG_NOSYSTEM": "1"}

    def run(self, *argv, cwd=None, ok=(0,), **more):
        done = subprocess.run(
            [str(a) for a in argv],
            cwd=cwd or self.root,
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert ok is None or done.returncode in ok, f"{argv}\n{done.stdout}\n{done.stderr}"
        return done

    def git(self, *words, ok=(0,), **more):
        return self.run("git", *words, ok=ok, **more)

    def lab(self, *words, ok=(0,), **more):
        return self.run(sys.executable, "-P", "-m", "lab.cli", *words, ok=ok, **more)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name, old, new):
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def commit(self, message="change", *options):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, *options)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, *words, ok=(0,), **more):
        """What the pusher was shown by the other side."""
        done = self.git("push", str(self.bare), *(words or ("main",)), ok=ok, **more)
        said = [
            line.removeprefix("remote: ").rstrip()
            for line in done.stderr.splitlines()
            if line.startswith("remote:")
        ]
        return SimpleNamespace(code=done.returncode, said="\n".join(said), lines=said)

    def pushed(self, message="change", **more):
        """Commit everything and push it."""
        self.commit(message)
        return self.push(**more)

    def install(self, *words):
        return self.lab("gitops", "install", "--repository", self.bare, *words)

    def follower(self):
        return Follower("home")

    def machines(self):
        """Hosts that exist."""
        folder = Path(os.environ["XDG_STATE_HOME"], "strata/home/memory/l2_instantiate")
        return sorted(p.name.split("+")[0] for p in folder.glob("*.json"))

    def packages(self, host):
        """What is installed there, as the memory driver left it."""
        folder = Path(os.environ["XDG_STATE_HOME"], "strata/home/memory/l3_system")
        text = (folder / f"{host}+.json").read_text()
        return set(re.findall(r'"(curl|htop|vim|tree)"', text))

    def newest(self):
        return self.follower().store.requests(1)[0]


class Desk:
    """The same, without hooks: what they start is called here, and its steps are kept."""

    def __init__(self, clone, **settings):
        self.clone = clone
        clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
        clone.git("--git-dir", str(clone.bare), "config", "receive.denyDeleteCurrent", "ignore")
        self.set(**settings)
        self.steps = []

    def set(self, **settings):
        kept = Settings.model_validate({"repository": str(self.clone.bare), **settings})
        kept.write(folder_of("home"))
        self.follower = Follower("home")

    def push(self, *words, message="change"):
        """Commit and push for real, then deal with it; returns how it ended."""
        commit = self.clone.commit(message)
        before = self.follower.repository.head("main")
        self.clone.push(*(words or ("--force", "main")))
        return self.deal(commit, before)

    def deal(self, commit, before=None):
        self.follower.receive(commit, before, "me")
        return self.work()

    def work(self):
        self.steps = []
        with self.follower.turn():
            request = self.follower.next()
            return request and self.follower.deal(request, self.steps.append)

    def step(self, kind):
        return next((s for s in self.steps if isinstance(s, kind)), None)

    @property
    def touched(self):
        return self.step(Looked).touched.hosts

    @property
    def said(self):
        return self.step(Ended).said

    def ledger(self):
        """Everything that exists, as the journal knows it."""
        with Lab.load(self.clone.root) as lab:
            return sorted((o.host, o.layer) for o in lab._journal.ledger())


@pytest.fixture
def make_desk(clone):
    """One with these settings; nothing is pushed yet."""
    return lambda **settings: Desk(clone, **settings)


@pytest.fixture
def desk(clone):
    """Three hosts, pushed and converged."""
    desk = Desk(clone)
    assert desk.push(message="first") is State.APPLIED
    return desk


@pytest.fixture
def clone(tmp_path):
    """Nothing is installed or pushed yet."""
    return Clone(tmp_path)


class Place:
    """Where one lab after the other stands as the first one was left, at the same paths.

    Installing and the first push start five processes: that is done once in a session.
    """

    def __init__(self, base):
        self.home, self.kept = base / "place", base / "kept"

    def fill(self):
        """Three hosts, pushed and converged; the hooks apply."""
        if self.kept.exists():
            shutil.copytree(self.kept, self.home, symlinks=True)
            return Clone.__new__(Clone).at(self.home)
        self.home.mkdir()
        clone = Clone(self.home)
        clone.commit("first")
        clone.install()
        shown = clone.push()
        assert "Applied:" in shown.said, shown.said
        assert clone.machines() == ["db1", "web1", "web2"]
        shutil.copytree(self.home, self.kept, symlinks=True)
        return clone

    def clear(self):
        """Nothing that a test started or left is there for the next one."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if str(self.home).encode() in (entry / "environ").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)
        shutil.rmtree(self.home)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("gitops"))


@pytest.fixture
def lab(place, monkeypatch):
    """Three hosts, pushed and converged; the hooks apply."""
    for name in ("STATE_HOME", "CACHE_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(place.home / "xdg" / name.lower()))
    yield place.fill()
    place.clear()

"""Errands on a real host: a lab's files, and the target that a driver is given."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.config.files import LabReader
from lab.config.tree import read
from lab.layer import Target, Workspace
from lab.masking import hide
from lab.model.host import Host
from lab.model.plan import Plan
from lab.model.secret import NoSecrets, Secret
from layers.l3_system import LAYER
from layers.l3_system.spec import Document, Inputs

PERSONA = "personas/web.yaml"


class Secrets(NoSecrets):
    """Secrets in clear, for tests."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def reveal(self, name: str) -> str:
        hide(self.values[name], name)
        return self.values[name]


@dataclass
class Errand:
    """One part on one host, as the engine would carry it out."""

    target: Target[Any, Any]
    driver: Any
    workspace: Workspace
    said: list[str]
    told: list[tuple[str, str]] = field(default_factory=list)

    def plan(self) -> Plan:
        return LAYER.plan(self.target, self.driver.observe(self.target), frozenset())

    def apply(self, plan: Plan) -> None:
        self.driver.apply_batch(
            self.target,
            plan.changes,
            lambda c: self.told.append(("started", c.what)),
            lambda c: self.told.append(("done", c.what)),
        )

    def converge(self) -> Plan:
        plan = self.plan()
        self.apply(plan)
        return plan

    def cancel_when(self, said: str) -> Callable[[], float]:
        """Cancel as soon as something was said; returns how to ask when that was."""
        when: list[float] = []

        def watch() -> None:
            while not any(said in line for line in self.said):
                time.sleep(0.05)
            when.append(time.monotonic())
            self.workspace.cancelled.set()

        threading.Thread(target=watch, daemon=True).start()
        return lambda: when[0]


@pytest.fixture(scope="session")
def errand_host(sandbox: Any) -> Any:
    """One host for everything that does not break it."""
    return sandbox.host("errands")


@pytest.fixture
def make(tmp_path: Path, errand_host: Any) -> Any:
    """``make(files, system=…, secrets=…, host=…, **inputs)``: the errand of a lab of such files."""
    workspaces = []

    def make(
        files: dict[str, str],
        *,
        secrets: dict[str, str] | None = None,
        sudo_password: str | None = None,
        host: Any = None,
        tags: tuple[str, ...] = (),
        **inputs: Any,
    ) -> Errand:
        for name, text in files.items():
            path = tmp_path / "lab" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        root = tmp_path / "lab"
        workspace = Workspace(
            "t", root, tmp_path / "state", tmp_path / "cache", tmp_path / "runtime"
        )
        workspaces.append(workspace)
        node, problems = read(root / PERSONA, PERSONA)
        assert node is not None, problems
        kept = Secrets(**(secrets or {}))
        context = {"reader": LabReader(root), "secrets": kept}
        document = Document.model_validate(node.plain(), context=context)
        part = LAYER.parts(document)[1]
        there = host or errand_host
        reach = {
            "address": there.address,
            "port": there.port,
            "user": there.user,
            "host_key": there.host_key,
            "identity_file": str(there.identity_file),
            "sudo_password": Secret(sudo_password, kept) if sudo_password else None,
        }
        said: list[str] = []
        target = Target(
            Host("web1", "web", "box", tags=frozenset(tags)),
            part.spec,
            Inputs(**{**reach, **inputs}),
            part.name,
            report=lambda doing, done=None, total=None: said.append(doing),
        )
        return Errand(target, LAYER.drivers[part.driver](workspace), workspace, said)

    yield make
    for workspace in workspaces:
        workspace.close()


@pytest.fixture
def seen_of_processes() -> Any:
    """Whether a text stands in the command line of any process now."""

    def seen(text: str) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
        return found

    return seen


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that programs write into a home or into /tmp is found below ``tmp_path``."""
    for variable in ("HOME", "TMPDIR"):
        folder = tmp_path / variable
        folder.mkdir()
        monkeypatch.setenv(variable, str(folder))


@pytest.fixture
def asking_sudo(errand_host: Any) -> Iterator[str]:
    """The login may become root with a password only: which."""
    user, password = errand_host.user, "Pw-4711 x"
    errand_host.run(
        f"echo '{user}:{password}' | chpasswd; mkdir -p /root/sudoers; mv /etc/sudoers.d/* "
        f"/root/sudoers; echo '{user} ALL=(ALL) ALL' > /etc/sudoers.d/asking"
    )
    yield password
    errand_host.run("rm /etc/sudoers.d/asking; mv /root/sudoers/* /etc/sudoers.d/")

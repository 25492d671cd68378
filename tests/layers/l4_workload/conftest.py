"""The demo's workload as the loaded lab holds it, and a target for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.layer import Target, Workspace
from lab.model.files import LabFile, LabTree
from lab.model.host import Host, Part
from layers.l4_workload import LAYER
from layers.l4_workload.spec import Inputs, Workload

PERSONA = Path(__file__).parents[3] / "personas" / "web"

WORKLOADS = """
start:
  compose: start/compose.yaml
  data: [/srv/start]
  health: {http: ":8080/", contains: Welcome, within: 30s}
  images:
    strata/start:1:
      packages: [busybox-static]
      command: [busybox, httpd, -f, -p, "8080", -h, /site]
      expose: [8080]
"""


class FolderReader:
    """Reads beside one persona, as loading the lab does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, value: str) -> LabFile:
        path = self._folder / value
        executable = bool(path.stat().st_mode & 0o100)
        return LabFile(f"personas/web/{value}", path.read_bytes(), executable)

    def tree_of(self, value: str) -> tuple[LabFile, LabTree]:
        folder = (self._folder / value).parent
        names = [str(f.relative_to(self._folder)) for f in sorted(folder.rglob("*")) if f.is_file()]
        path = f"personas/web/{folder.relative_to(self._folder)}"
        return self.file(value), LabTree(path, tuple(map(self.file, names)))


def load(workloads: str, folder: Path = PERSONA, kind: str = "qemu") -> tuple[Part, ...]:
    document = {"provider": {"kind": kind}, "workloads": yaml.safe_load(workloads)}
    context = {"reader": FolderReader(folder)}
    return LAYER.parts(LAYER.document.model_validate(document, context=context))


@pytest.fixture
def host() -> Host:
    return Host("web1", "web", "box")


@pytest.fixture
def target_of(host: Host) -> Callable[..., Target[Workload, Inputs]]:
    def make(workloads: str = WORKLOADS, **more: Any) -> Target[Workload, Inputs]:
        (part,) = load(workloads)
        assert isinstance(part.spec, Workload)
        reachable = Inputs(address="127.0.0.1", port=2222, endpoints={"8080": "127.0.0.1:18080"})
        return Target(host, part.spec, more.pop("inputs", reachable), part.name, **more)

    return make


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folders = [tmp_path / name for name in ("state", "cache", "run")]
    for folder in folders:
        folder.mkdir()
    return Workspace("demo", tmp_path, *folders)


@pytest.fixture
def workloads() -> str:
    return WORKLOADS


@pytest.fixture(name="load")
def load_fixture() -> Callable[..., tuple[Part, ...]]:
    return load

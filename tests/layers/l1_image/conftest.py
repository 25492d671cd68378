import pytest

from lab.layer import Target, Workspace
from lab.model.host import Host
from layers.l1_image.spec import Image, Inputs, Spec


@pytest.fixture
def workspace(tmp_path):
    for name in ("state", "cache", "run"):
        (tmp_path / name).mkdir()
    return Workspace(
        lab="t",
        root=tmp_path,
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        runtime=tmp_path / "run",
    )


@pytest.fixture
def target_of():
    def make(section, host="web1", **fields):
        spec = Spec.of(Image.model_validate(section))
        return Target(Host(name=host, persona="web", provider="box"), spec, Inputs(), **fields)

    return make

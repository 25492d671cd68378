import pytest

from lab.layer import Target, Workspace
from lab.model.host import Host
from layers.l0_runway.spec import Document, Inputs, Spec


@pytest.fixture
def workspace(tmp_path):
    return Workspace(
        lab="t",
        root=tmp_path,
        state=tmp_path / "state",
        cache=tmp_path / "cache",
        runtime=tmp_path / "run",
    )


@pytest.fixture
def target_of():
    def make(document):
        spec = Spec.of(Document.model_validate(document))
        return Target(Host(name="web1", persona="web", provider="box"), spec, Inputs())

    return make

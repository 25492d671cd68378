"""A small layer that owns ``box``: the loader is tested without the real five."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from lab.config import load
from lab.errors import ConfigError
from lab.layer import Claim, Layer, Prediction
from lab.model.files import File
from lab.model.host import Part
from lab.model.plan import Plan
from lab.model.units import Size


class Box(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    memory: Size | None = None
    colour: str = "red"
    port: int | None = None
    tags: list[str] = []
    file: File | None = None
    inner: dict[str, dict[str, int]] = {}


class Document(BaseModel):
    box: Box = Box()
    provider: dict[str, Any] = {}


class Nothing(BaseModel):
    pass


def claims(host, part):
    return (Claim(f"port {part.spec.port}", ("box", "port")),) if part.spec.port else ()


LAYER = Layer(
    name="l0_box",
    title="box",
    sections=("box", "provider"),
    document=Document,
    spec=Box,
    inputs=Nothing,
    outputs_type=Nothing,
    parts=lambda d: (Part("", "toy", d.box),),
    plan=lambda t, o, r: Plan(),
    predict=lambda t, o, p: Prediction(Nothing()),
    outputs=lambda t, o: Nothing(),
    drivers={},
    claims=claims,
)

GOOD = {
    "lab.yaml": "name: demo\nproviders:\n  box: {kind: toy}\n",
    "personas/web.yaml": "purpose: a web\nbox:\n  memory: 1GiB\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
}


@pytest.fixture
def loaded(lab_dir):
    """Load GOOD with some files replaced; returns the Inventory."""

    def run(files=None, secrets=None):
        return load(lab_dir({**GOOD, **(files or {})}), (LAYER,), secrets)

    return run


@pytest.fixture
def wrong(loaded):
    """The problems of a lab, as lines."""

    def run(files):
        with pytest.raises(ConfigError) as caught:
            loaded(files)
        return [str(p) for p in caught.value.problems]

    return run

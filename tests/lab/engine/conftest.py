"""Two toy layers over a dict: enough to see everything the engine promises."""

import threading
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel, ConfigDict

from lab.config import Inventory
from lab.engine import Engine
from lab.journal import Journal
from lab.layer import Above, Layer, Prediction, Workspace
from lab.model.host import Host, Part
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True)
    value: int = 1
    shared: str | None = None
    blocked: bool = False


class Inputs(BaseModel):
    model_config = ConfigDict(extra="ignore")
    ground: int | None = None


class Observed(BaseModel):
    value: int


class GroundOutputs(BaseModel):
    ground: int | None = None


class TopOutputs(BaseModel):
    top: int | None = None


class Empty(BaseModel):
    pass


@dataclass
class World:
    """What exists, what to raise, and what was asked: the toy's whole universe."""

    things: dict = field(default_factory=dict)
    raises: dict = field(default_factory=dict)
    applied: list = field(default_factory=list)
    ignores: set = field(default_factory=set)
    hold: threading.Event | None = None


class Toy:
    replace_on = frozenset()

    def __init__(self, world, layer):
        self.world, self.layer = world, layer

    def observe(self, target):
        error = self.world.raises.get(("observe", self.layer, target.host.name))
        if error:
            raise error
        value = self.world.things.get((self.layer, target.host.name, target.name))
        return None if value is None else Observed(value=value)

    def apply(self, target, change):
        if self.world.hold:
            self.world.hold.wait(20)
        error = self.world.raises.get(("apply", self.layer, target.host.name))
        if error:
            raise error
        self.world.applied.append((target.host.name, self.layer, change.what))
        key = (self.layer, target.host.name, target.name)
        if key in self.world.ignores:
            return
        if change.action is Action.DELETE:
            self.world.things.pop(key, None)
        else:
            self.world.things[key] = target.spec.value


class Pooled(Toy):
    """The one whose things are shared."""

    def unused(self, keep, leaving=frozenset()):
        return tuple(
            Change(Action.DELETE, f"thing {k}")
            for k in self.world.things.get("pool", ())
            if k not in keep
        )

    def prune(self, change):
        self.world.things["pool"].remove(change.what.split()[1])


def toy_plan(target, observed, replace_on):
    if target.spec.blocked:
        return Plan(blockers=(Blocker("toy", "it is blocked", "unblock it"),))
    if target.absent:
        gone = Change(Action.DELETE, f"thing {target.name}", destroys="everything")
        return Plan(changes=(gone,) if observed else ())
    if observed is None:
        diff = FieldDiff("value", None, target.spec.value)
        return Plan(changes=(Change(Action.CREATE, f"thing {target.name}", (diff,)),))
    if observed.value != target.spec.value:
        diff = FieldDiff("value", observed.value, target.spec.value)
        lost = "old value" if observed.value > target.spec.value else ""
        return Plan(
            changes=(Change(Action.UPDATE, f"thing {target.name}", (diff,), destroys=lost),)
        )
    return Plan()


def ground_predict(target, observed, plan):
    above = Above.FRESH if plan.change(f"thing {target.name}") and observed is None else Above.AS_IS
    return Prediction(GroundOutputs(ground=target.spec.value), above)


def make_layer(world, name, outputs_type, predict, outputs, **more):
    return Layer(
        name=name,
        title=name,
        sections=(),
        document=Empty,
        spec=Spec,
        inputs=Inputs,
        outputs_type=outputs_type,
        parts=lambda document: (),
        plan=toy_plan,
        predict=predict,
        outputs=outputs,
        drivers={"toy": lambda workspace: (Pooled if name == "l1_ground" else Toy)(world, name)},
        shared=lambda target: target.spec.shared,
        **more,
    )


@pytest.fixture
def world():
    return World()


@pytest.fixture
def layers(world):
    return (
        make_layer(
            world,
            "l1_ground",
            GroundOutputs,
            ground_predict,
            lambda t, o: GroundOutputs(ground=o.value if o else None),
            destroyed=True,
        ),
        make_layer(
            world,
            "l2_top",
            TopOutputs,
            lambda t, o, p: Prediction(TopOutputs(top=t.spec.value)),
            lambda t, o: TopOutputs(top=t.inputs.ground),
            prune_parts=True,
        ),
    )


@pytest.fixture
def make_host():
    def make(name="a", ground=1, top=(("x", 1),), **more):
        shared = more.pop("shared", None)
        blocked = more.pop("blocked", False)
        parts = {
            "l1_ground": (Part("", "toy", Spec(value=ground, shared=shared, blocked=blocked)),),
            "l2_top": tuple(Part(n, "toy", Spec(value=v)) for n, v in top),
        }
        return Host(name, "p", "box", parts=parts, **more)

    return make


@pytest.fixture
def make_engine(layers, tmp_path):
    def make(*hosts, layers=layers):
        workspace = Workspace(
            "toy", tmp_path, tmp_path / "state", tmp_path / "cache", tmp_path / "run"
        )
        inventory = Inventory("toy", tmp_path, {h.name: h for h in hosts}, {}, {})
        return Engine(inventory, layers, workspace, Journal(workspace.state))

    return make

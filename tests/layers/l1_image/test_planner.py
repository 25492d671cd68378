from pathlib import Path

import pytest
import yaml

from lab.layer import Above, Target
from lab.model.baseline import Baseline
from lab.model.host import Host
from layers.l1_image import planner
from layers.l1_image.spec import Image, Inputs, Observed, Previous, Spec

CASES = yaml.safe_load(Path(__file__).with_name("plans.yaml").read_text())
SPEC = Spec.of(Image.model_validate({"base": "debian-13", "packages": ["jq"]}))
HOST = Host(name="web1", persona="web", provider="box")


def target(*, absent=False, promoted=None):
    spec = SPEC
    if promoted:
        more = {k: SPEC.own_name if v == "own" else v for k, v in promoted.items()}
        section = {"base": "debian-13", "packages": ["jq"], **more}
        spec = Spec.of(Image.model_validate(section))
    return Target(HOST, spec, Inputs(), absent=absent)


def seen(fields):
    if fields is None:
        return None
    previous = fields.pop("previous", None)
    if previous:
        definition = SPEC.definition.model_copy(update={"packages": tuple(previous["packages"])})
        fields["previous"] = Previous(name=previous["name"], definition=definition)
    return Observed(name=SPEC.name, path="/state/disk.qcow2", **fields)


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_plan(case):
    plan = planner.plan(
        target(absent=case.get("absent", False), promoted=case.get("promoted")),
        seen(dict(case["observed"] or {}) or None) if case["observed"] else None,
        frozenset(),
    )
    shown = [f"{c.action.sign} {' '.join(f.field for f in c.fields)}" for c in plan.changes]
    assert shown == case["plan"]
    assert [c.reason for c in plan.changes if c.reason] == (
        [case["reason"]] if "reason" in case else []
    )
    assert [b.why for b in plan.blockers] == ([case["blocker"]] if "blocker" in case else [])
    if "hint" in case:
        assert plan.blockers[0].hint == case["hint"]


def test_the_desired_state_needs_nothing():
    assert not planner.plan(target(), planner.desired(target()), frozenset())


def test_the_path_and_name_are_known_before_it_is_built():
    prediction = planner.predict(
        target(), seen({"present": False}), planner.plan(target(), None, frozenset())
    )
    assert prediction.above is Above.AS_IS
    assert prediction.outputs.template == "/state/disk.qcow2"
    assert prediction.outputs.template_name == SPEC.name
    assert not prediction.outputs.baseline.complete


def test_hosts_with_one_definition_share_one_template():
    assert planner.shared(target()) == SPEC.name


def test_machines_stay_where_they_are_only_while_a_template_is_promoted():
    assert not planner.outputs(target(), seen({"present": True})).stays
    promoted = target(promoted={"template": "web-0123456789ab"})
    found = seen({"present": True}).model_copy(update={"name": "web-0123456789ab"})
    assert planner.outputs(promoted, found).stays
    assert planner.outputs(promoted, None).baseline == Baseline()

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.layer import Above
from lab.model.plan import Action, to_json
from layers.l4_workload import LAYER, drift, planner
from layers.l4_workload.spec import Container, Inputs, Observed

CASES = yaml.safe_load((Path(__file__).parent / "plans.yaml").read_text())
NOTHING = frozenset[str]()


def resolved(value: Any, spec: Any) -> Any:
    """``<path>`` is the declared file as plans show it, ``<image>`` the declared definition."""
    files = drift.expected_files(spec)
    if value == "<image>":
        return next(iter(drift.expected_images(spec).values()))
    if isinstance(value, str) and (match := re.fullmatch(r"<(bare 12 |bare )?(.+)>", value)):
        whole = files[match[2]]
        shown = whole[:12] + ("+x" if whole.endswith("+x") else "")
        bare = whole.removesuffix("+x")
        return {None: shown, "bare ": bare, "bare 12 ": bare[:12]}[match[1]]
    return [resolved(v, spec) for v in value] if isinstance(value, list) else value


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set one value; file names have dots too, so what follows ``files.`` is one name."""
    head, files, name = path.partition("files.")
    keys = [k for k in head.split(".") if k] + (["files", name] if files else [])
    place: Any = document
    for key in keys[:-1]:
        place = place[int(key) if key.isdigit() else key]
    last = keys[-1]
    if value is None and isinstance(place, dict) and files:
        del place[last]
    elif isinstance(place, list):
        place[int(last) :] = [value]
    else:
        place[last] = value


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["case"])
def test_each_drift_is_named_and_nothing_else(case, target_of):
    target = target_of()
    document = planner.desired(target).model_dump(mode="json")
    for path, value in case["there"].items():
        put(document, path, resolved(value, target.spec))

    plan = planner.plan(target, Observed.model_validate(document), NOTHING)

    wanted = {name: tuple(resolved(v, target.spec)) for name, v in case["fields"].items()}
    found = {f.field: (f.before, f.after) for c in plan.changes for f in c.fields}
    assert found == wanted
    assert [c.action for c in plan.changes] == ([Action.UPDATE] if wanted else [])
    if "reason" in case:
        assert plan.changes[0].reason == case["reason"]
    secret = [f.field for c in plan.changes for f in c.fields if f.secret]
    assert secret == case.get("secret", [])
    assert "abc" not in str(to_json(plan))


def test_what_is_not_there_is_created_with_all_that_it_will_be(target_of):
    (change,) = planner.plan(target_of(), None, NOTHING).changes

    assert (change.action, change.what) == (Action.CREATE, "workload start")
    assert {f.field: f.after for f in change.fields} == {
        "compose": "personas/web/start/compose.yaml",
        "services": "web",
        "image strata/start:1": drift.expected_images(target_of().spec)["strata/start:1"],
        "data": "/srv/start",
        "health": "http :8080/",
    }
    assert change.destroys == ""


def test_a_deployment_may_take_as_long_as_it_may_take_to_be_healthy(target_of):
    (change,) = planner.plan(target_of(), None, NOTHING).changes
    assert change.deadline == 630


def test_what_is_no_longer_declared_is_deleted_without_losing_anything(target_of):
    target = target_of(absent=True)
    (change,) = planner.plan(target, planner.desired(target), NOTHING).changes

    assert (change.action, change.destroys) == (Action.DELETE, "")
    assert not planner.plan(target, None, NOTHING)


def test_a_spec_read_back_from_the_ledger_can_still_be_deleted(target_of):
    target = target_of()
    kept = LAYER.spec.model_validate_json(target.spec.model_dump_json())
    absent = target_of(absent=True)
    (change,) = planner.plan(
        type(absent)(absent.host, kept, absent.inputs, "start", absent=True),
        planner.desired(target),
        NOTHING,
    ).changes
    assert change.action is Action.DELETE


def test_a_project_that_this_lab_did_not_deploy_is_left_alone_unless_adopted(target_of):
    foreign = Observed(containers=(Container(service="web", name="start-web-1"),))

    plan = planner.plan(target_of(), foreign, NOTHING)
    assert not plan.changes
    assert "--adopt" in plan.blockers[0].hint

    adopted = planner.plan(target_of(adopt=True), foreign, NOTHING)
    assert [c.action for c in adopted.changes] == [Action.UPDATE]
    assert not adopted.blockers


def test_the_address_is_known_before_anything_runs(target_of):
    target = target_of()
    plan = planner.plan(target, None, NOTHING)
    prediction = planner.predict(target, None, plan)

    assert prediction.above is Above.AS_IS
    assert prediction.outputs == planner.outputs(target, planner.desired(target))
    assert planner.outputs(target, None).urls == {"start": "http://127.0.0.1:18080/"}


def test_workloads_hand_up_their_addresses_together(target_of):
    before = Inputs(urls={"wiki": "http://127.0.0.1:8081/"}, endpoints={"8080": "127.0.0.1:1"})
    urls = planner.outputs(target_of(inputs=before), None).urls
    assert urls == {"wiki": "http://127.0.0.1:8081/", "start": "http://127.0.0.1:1/"}


def test_a_host_with_an_address_of_its_own_needs_no_forward(target_of):
    urls = planner.outputs(target_of(inputs=Inputs(address="192.0.2.11")), None).urls
    assert urls == {"start": "http://192.0.2.11:8080/"}


def test_a_host_that_is_shut_promises_nothing_to_a_browser_here(target_of):
    shut = Inputs(address="192.0.2.11", endpoints={"8080": "192.0.2.11:8080"}, shut=True)
    assert planner.outputs(target_of(inputs=shut), None).urls == {}


def test_nothing_is_promised_while_nothing_is_known(target_of):
    assert planner.outputs(target_of(inputs=Inputs()), None).urls == {}


def test_data_that_no_service_mounts_is_worth_a_note(target_of, workloads):
    target = target_of(workloads.replace("[/srv/start]", "[/srv/start, /srv/photos]"))
    plan = planner.plan(target, planner.desired(target), NOTHING)
    assert not plan
    assert plan.notes == (
        "start: no service mounts /srv/photos, though the persona says that its data is there",
    )


def test_what_compose_would_overlook_is_recreated(target_of):
    target = target_of()
    well = planner.desired(target).model_dump(mode="json")
    well["containers"][0] |= {"mounts": ["/x/start/site:/site:ro"], "config": "1"}
    well["record"]["containers"][0] |= {"mounts": ["/x/start/site:/site:ro"], "config": "1"}

    def services(**there: Any) -> tuple[str, ...]:
        document = Observed.model_validate(well).model_dump(mode="json")
        for path, value in there.items():
            put(document, path.replace("__", "."), value)
        observed = Observed.model_validate(document)
        return drift.to_recreate(target.spec, observed, "/x/start")

    assert services() == ()
    assert services(containers__0__state="paused") == ("web",)
    assert services(containers__0__health="unhealthy") == ("web",)
    assert services(containers__0__environment={}) == ("web",)
    assert services(**{"files__site/style.css": "edited"}) == ("web",)
    assert services(**{"files__compose.yaml": "edited"}) == ()
    assert services(healthy=False) == ("web",)
    assert services(containers__0__state="exited", healthy=False) == ()


def test_memory_hosts_use_the_memory_driver(load, workloads):
    assert [p.driver for p in load(workloads, kind="memory")] == ["memory"]
    assert [p.driver for p in load(workloads)] == ["compose"]

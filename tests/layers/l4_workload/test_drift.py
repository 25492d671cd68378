import hashlib

from layers.l4_workload import drift, planner
from layers.l4_workload.spec import Observed

VARIABLES = """
start:
  compose: start/compose.yaml
  variables: {PORT: 8080, PASSWORD: 'a"b$c\\d'}
"""
NOTHING = frozenset[str]()


def test_variables_become_the_environment_file_of_compose(target_of):
    spec = target_of(VARIABLES).spec
    expected = b'PASSWORD="a\\"b\\$c\\\\d"\nPORT="8080"\n'
    assert drift.environment_file(spec) == expected
    assert drift.expected_files(spec)[".env"] == hashlib.sha256(expected).hexdigest()


def test_the_users_own_environment_file_comes_first(tmp_path, load):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "compose.yaml").write_text("services: {a: {image: b}}")
    (tmp_path / "start" / ".env").write_text("PORT=1\nOTHER=2")
    (part,) = load("start: {compose: start/compose.yaml, variables: {PORT: 8080}}", tmp_path)
    assert drift.environment_file(part.spec) == b'PORT=1\nOTHER=2\nPORT="8080"\n'
    (plain,) = load("start: {compose: start/compose.yaml}", tmp_path)
    assert drift.environment_file(plain.spec) == b"PORT=1\nOTHER=2"


def test_a_changed_variable_is_one_changed_file_and_never_its_value(target_of):
    target = target_of(VARIABLES)
    before = planner.desired(target_of(VARIABLES.replace('a"b', "geheim")))
    plan = planner.plan(target, before, NOTHING)
    assert [f.field for f in plan.changes[0].fields] == ["file .env"]
    assert "geheim" not in str(plan)


def test_a_job_that_ended_well_is_no_drift(target_of):
    target = target_of()
    document = planner.desired(target).model_dump()
    job = {"service": "setup", "state": "exited", "exit_code": 0, "restart": "no"}
    document["containers"] = [*document["containers"], job]
    document["record"]["containers"] = [*document["record"]["containers"], job]
    assert not planner.plan(target, Observed.model_validate(document), NOTHING)

"""Roles, playbooks and deploys as parts, and their plans: pure."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lab.layer import Target
from lab.model.files import LabFile, LabProject, LabTree
from lab.model.host import Host
from lab.model.secret import SecretName
from layers.l3_system import errands, planner
from layers.l3_system.spec import Document, Inputs
from layers.l3_system.spec.errands import Difference, Rehearsal, Step

HOST = Host("web1", "web", "box", vars={"colour": "blue"})


class Reader:
    """A lab with the role hardening, a playbook and a deploy."""

    def __init__(self, **changed):
        self.files = {
            "roles/hardening/tasks/main.yml": "- debug: {}\n",
            "play/site.yml": "- hosts: all\n",
            "deploys/web.py": "print(1)\n",
            **changed,
        }

    def file(self, value):
        if value not in self.files:
            raise ValueError(f"there is no file {value!r}")
        return LabFile(value, self.files[value].encode())

    def tree_of(self, value):
        main = self.file(value)
        folder = value.rpartition("/")[0]
        return main, self._tree(folder)

    def folder(self, value, within, elsewhere=()):
        tree = self._tree(f"{within}/{value}")
        if not tree.files:
            raise ValueError(f"there is no {value!r} in {within}/")
        return tree

    def _tree(self, folder):
        names = [n for n in self.files if n.startswith(f"{folder}/")]
        return LabTree(folder, tuple(self.file(n) for n in names))


def parts(system, reader=None, **rest):
    context = {"reader": reader or Reader()}
    return planner.parts(Document.model_validate({"system": system, **rest}, context=context))


def target(system, index=1, reader=None, host=HOST):
    part = parts(system, reader)[index]
    return Target(host, part.spec, Inputs(), part.name)


def step(bare, unseen="", **more):
    return Step(name=f"task hardening: {bare}", bare=bare, unseen=unseen, **more)


def plan(system, rehearsal):
    return planner.plan(target(system), rehearsal, frozenset())


def applied(system):
    return errands.digest(target(system))


ROLE = {"roles": ["hardening"]}


def test_parts_come_after_native_in_their_order_and_one_by_one():
    made = parts(
        {
            "deploys": ["deploys/web.py"],
            "playbooks": ["play/site.yml", {"playbook": "play/site.yml", "vars": {"a": 1}}],
            "roles": ["hardening", {"role": "community.general.x"}],
        }
    )
    assert [(p.name, p.driver) for p in made] == [
        ("", "native"),
        ("roles", "ansible"),
        ("playbook site.yml", "ansible"),
        ("playbook site.yml (2)", "ansible"),
        ("deploy web.py", "pyinfra"),
    ]


def test_roles_with_other_tags_run_by_themselves():
    tagged = {"role": "hardening", "tags": ["net"]}
    made = parts({"roles": ["hardening", "hardening", tagged]})
    assert [p.name for p in made] == ["", "roles hardening hardening", "roles hardening"]
    assert made[2].spec.tags == ("net",)


def test_a_provider_in_memory_carries_them_too():
    made = parts({**ROLE, "deploys": ["deploys/web.py"]}, provider={"kind": "memory"})
    assert [p.driver for p in made] == ["memory"] * 3


def test_an_appliance_has_none():
    assert parts("none") == ()


def test_each_step_that_would_change_is_a_change_with_its_differences():
    difference = Difference(field="mode", before="0644", after="0600")
    found = plan(ROLE, Rehearsal(steps=(step("Set options", differences=(difference,)),)))
    (change,) = found.changes
    assert (change.action.value, change.what) == ("update", "task hardening: Set options")
    assert [(f.field, f.before, f.after) for f in change.fields] == [("mode", "0644", "0600")]
    assert not found.notes


def test_what_a_dry_run_skips_is_done_when_the_role_is_new_here_and_not_again():
    rehearsal = Rehearsal(steps=(step("Run it", unseen="a dry run skips it"),))
    new = plan(ROLE, rehearsal)
    assert [c.reason for c in new.changes] == ["a dry run skips it"]
    old = plan(ROLE, rehearsal.model_copy(update={"applied": applied(ROLE)}))
    assert not old
    assert "drift in these is not noticed: task hardening: Run it" in old.notes[0]


def test_what_a_dry_run_skips_runs_along_with_what_drifted_and_the_plan_says_so():
    steps = (step("Set options"), step("Run it", unseen="a dry run skips it"))
    found = plan(ROLE, Rehearsal(steps=steps, applied=applied(ROLE)))
    assert [c.what for c in found.changes] == ["task hardening: Set options"]
    assert "these run too, unseen: task hardening: Run it" in found.notes[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"reader": Reader(**{"roles/hardening/tasks/main.yml": "- debug: {msg: x}\n"})},
        {"host": Host("web1", "web", "box", vars={"colour": "red"})},
        {"system": {"roles": [{"role": "hardening", "vars": {"a": 1}}]}},
    ],
)
def test_a_role_is_new_again_when_its_files_or_values_change(changed):
    assert errands.digest(target(**{"system": ROLE, **changed})) != applied(ROLE)


def test_a_role_is_not_new_for_another_deadline_or_strategy():
    options = {"ansible": {"strategy": "mitogen", "deadline": "5m"}}
    assert applied({**ROLE, **options}) == applied(ROLE)


def test_a_step_that_always_changes_does_not_keep_a_plan_from_being_empty():
    known = {"roles": [{"role": "hardening", "always_changes": {"Update it": "it has no memory"}}]}
    rehearsal = Rehearsal(steps=(step("Update it"),))
    assert plan(known, rehearsal).changes
    settled = plan(known, rehearsal.model_copy(update={"applied": applied(known)}))
    assert not settled
    assert settled.notes == (
        "task hardening: Update it says 'changed' at every run: it has no memory",
    )


def test_where_a_dry_run_stops_the_rest_is_one_change_and_later_a_note():
    rehearsal = Rehearsal(
        steps=(step("Ask", unseen="a dry run skips it"),), stopped="task hardening: Use", why="no x"
    )
    assert plan(ROLE, rehearsal).changes[-1].what == "steps from task hardening: Use on"
    settled = plan(ROLE, rehearsal.model_copy(update={"applied": applied(ROLE)}))
    assert not settled
    assert "cannot see past task hardening: Use (no x)" in settled.notes[-1]


def test_a_host_without_python_blocks_and_says_what_to_add():
    (blocker,) = plan(ROLE, Rehearsal(missing="python3")).blockers
    assert "python3 is not installed on web1" in blocker.why
    assert "packages: [python3]" in blocker.hint


def test_python_that_is_declared_is_waited_for():
    found = plan({**ROLE, "packages": ["python3"]}, Rehearsal(missing="python3"))
    assert [c.what for c in found.changes] == ["role hardening"]
    assert found.open


def test_python_that_is_to_be_absent_does_not_come():
    found = plan({**ROLE, "packages": [{"python3": "absent"}]}, Rehearsal(missing="python3"))
    assert found.blockers


def test_before_the_host_is_there_the_plan_names_the_pieces_and_is_open():
    wanted = target({"roles": ["hardening", "hardening"]})
    found = planner.plan(wanted, planner.fresh(wanted), frozenset())
    assert [c.what for c in found.changes] == ["role hardening", "role hardening (2)"]
    assert found.open


def test_an_errand_hands_nothing_up_and_nothing_of_it_is_undone():
    wanted = target(ROLE)
    assert planner.outputs(wanted, None).model_dump() == {}
    gone = Target(wanted.host, wanted.spec, wanted.inputs, wanted.name, absent=True)
    assert not planner.plan(gone, None, frozenset())


def test_what_is_desired_needs_nothing():
    wanted = target(ROLE)
    assert not planner.plan(wanted, errands.desired(wanted), frozenset())


def test_secrets_are_in_the_spec_by_name_only():
    system = {"roles": [{"role": "hardening", "vars": {"a": {"b": [SecretName("db")]}}}]}
    assert "(secret db)" in target(system).spec.model_dump_json()


@pytest.mark.parametrize(
    ("system", "where", "says"),
    [
        ({"roles": ["nope"]}, ("roles", 0, "role"), "there is no 'nope'"),
        ({"roles": ["../x"]}, ("roles", 0, "role"), "not a role's name"),
        (
            {"roles": [{"role": "hardening", "vars": {"a-b": 1}}]},
            ("roles", 0, "vars"),
            "not a variable's name",
        ),
        ({"playbooks": ["no.yml"]}, ("playbooks", 0, "playbook"), "there is no file"),
        ({"deploys": ["play/site.yml"]}, ("deploys", 0, "deploy"), "not a file of Python"),
        ({"ansible": {"strategy": "free"}}, ("ansible", "strategy"), "linear"),
    ],
)
def test_a_mistake_is_named_with_its_place(system, where, says):
    with pytest.raises(ValidationError) as caught:
        parts(system)
    (error,) = caught.value.errors()
    assert error["loc"] == ("system", *where)
    assert says in error["msg"]


@pytest.mark.parametrize(
    ("file", "text", "system", "says"),
    [
        (
            "roles/hardening/tasks/main.yml",
            "- a: [",
            ROLE,
            "roles/hardening/tasks/main.yml:2:1: not YAML",
        ),
        ("play/site.yml", "a: b: c", {"playbooks": ["play/site.yml"]}, "play/site.yml:1:5"),
        ("play/roles/x/tasks/main.yml", "\t", {"playbooks": ["play/site.yml"]}, "main.yml:1:1"),
        (
            "deploys/web.py",
            "\ndef x(:",
            {"deploys": ["deploys/web.py"]},
            "deploys/web.py:2:7: not Python",
        ),
        ("deploys/web.py", "\0", {"deploys": ["deploys/web.py"]}, "deploys/web.py"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line(file, text, system, says):
    with pytest.raises(ValidationError, match=says):
        parts(system, Reader(**{file: text}))


def test_templates_of_a_role_need_not_be_yaml():
    reader = Reader(**{"roles/hardening/templates/a.yml": "{% if x %}\n"})
    assert len(parts(ROLE, reader)) == 2


def test_a_project_is_found_with_its_folder():
    spec = target({"playbooks": ["play/site.yml"]}).spec
    assert isinstance(spec.playbook.playbook, LabProject)
    assert spec.playbook.playbook.tree.path == "play"

"""What tofu plans, read out of ``show -json``."""

from lab.model.plan import Action
from layers.l2_instantiate.drivers.terraform import planned


def change(actions, before=None, after=None, **more):
    return {
        "resource_changes": [
            {
                "name": "machine",
                "change": {"actions": actions, "before": before, "after": after, **more},
            }
        ]
    }


def test_no_op_is_an_empty_plan():
    found = planned.read(change(["no-op"], {"vm_id": 5001}, {"vm_id": 5001}))
    assert found.is_empty
    assert found.number == 5001


def test_an_update_names_each_attribute_however_deep():
    before = {"vm_id": 5001, "cpu": [{"cores": 1}], "tags": ["a"], "name": "x"}
    after = {"vm_id": 5001, "cpu": [{"cores": 2}], "tags": ["a", "b"], "name": "x"}
    (found,) = planned.read(change(["update"], before, after)).changes
    assert found.action is Action.UPDATE
    told = {f.field: (f.before, f.after) for f in found.fields}
    assert told == {"cpu[0].cores": (1, 2), "tags[1]": (None, "b")}


def test_a_replacement_says_which_attribute_forces_it():
    found = planned.read(
        change(
            ["delete", "create"],
            {"node_name": "a", "vm_id": 7},
            {"node_name": "b", "vm_id": 7},
            replace_paths=[["node_name"], ["disk", 0, "file_id"]],
        )
    )
    (only,) = found.changes
    assert only.action is Action.REPLACE
    assert only.reason == "node_name, disk[0].file_id cannot be changed otherwise"


def test_what_is_only_known_afterwards_and_what_is_hidden():
    found = planned.read(
        change(
            ["update"],
            {"a": 1, "p": "old"},
            {"p": "new"},
            after_unknown={"a": True},
            after_sensitive={"p": True},
        )
    )
    fields = {f.field: f for f in found.changes[0].fields}
    assert fields["a"].after == "known afterwards"
    assert fields["p"].secret
    assert "old" not in str(fields["p"])


def test_a_machine_that_tofu_only_learns_of_is_something_to_do():
    found = planned.read(change(["no-op"], {"vm_id": 3}, {"vm_id": 3}, importing={"id": "a/3"}))
    assert found.actions == {Action.UPDATE}

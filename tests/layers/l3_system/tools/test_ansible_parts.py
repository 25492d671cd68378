"""What Ansible is given, and how its events are read: pure."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.clients.shell import Endpoint
from lab.masking import forget, hide
from lab.model.host import Host
from lab.model.secret import Secret
from layers.l3_system.drivers.ansible import inventory
from layers.l3_system.drivers.ansible.results import Listener
from layers.l3_system.spec.errands import RolesErrand
from layers.l3_system.spec.handed import LabRole
from layers.l3_system.spec.handed_over import Role

HOST = Host("web1", "web", "box", tags=frozenset({"edge"}), vars={"port": 80, "key": Secret("k")})
TO = Endpoint("web1", address="192.0.2.1", port=2222, user="ops", identity_file="/k", host_key="x")


def errand(**variables):
    return RolesErrand(roles=(Role(role=LabRole("r"), vars=variables),))


def test_the_inventory_is_strict_about_the_host_key_and_holds_no_secret():
    made = inventory.inventory(HOST, TO, Path("/run/known"), "/usr/bin/python3")
    variables = made["all"]["hosts"]["web1"]
    options = variables["ansible_ssh_common_args"]
    for option in (
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/run/known",
        "GlobalKnownHostsFile=/dev/null",
        "HostKeyAlias=strata-web1",
        "IdentitiesOnly=yes",
    ):
        assert f"-o {option}" in options
    assert variables["port"] == 80
    assert variables["key"] == '{{ strata_secrets["k"] }}'
    assert (variables["ansible_host"], variables["ansible_port"]) == ("192.0.2.1", 2222)
    assert variables["strata_tags"] == ["edge"]
    assert set(made["all"]["children"]) == {"web", "box", "edge"}


def test_without_a_host_key_the_users_own_record_decides_strictly():
    options = inventory.inventory(HOST, TO, None, "p")["all"]["hosts"]["web1"]
    assert "StrictHostKeyChecking=yes" in options["ansible_ssh_common_args"]
    assert "UserKnownHostsFile" not in options["ansible_ssh_common_args"]


def test_groups_are_names_that_ansible_takes_and_never_the_host_itself():
    host = Host("web", "web", "my-box", tags=frozenset({"a-b"}))
    groups = inventory.inventory(host, TO, None, "p")["all"]["children"]
    assert set(groups) == {"my_box", "a_b"}


def test_the_play_refers_to_secrets_and_keeps_other_values():
    (play,) = inventory.play(errand(a={"b": [Secret("db"), "{{ x }}", 1, None]}))
    assert play["roles"] == [
        {"role": "r", "vars": {"a": {"b": ['{{ strata_secrets["db"] }}', "{{ x }}", 1, None]}}}
    ]
    assert play["become"] is True
    needed = inventory.secrets_of(errand(a=[{"b": Secret("db")}]), HOST, TO)
    assert set(needed) == {"db", "k"}


def test_the_password_of_sudo_is_a_secret_like_any_other():
    to = dataclasses.replace(TO, sudo_password=Secret("ops"))
    variables = inventory.inventory(HOST, to, None, "p")["all"]["hosts"]["web1"]
    assert variables["ansible_become_password"] == '{{ strata_secrets["ops"] }}'
    assert "ops" in inventory.secrets_of(errand(), HOST, to)


def test_this_machine_is_reached_without_ssh():
    here = dataclasses.replace(TO, kind="local")
    variables = inventory.inventory(HOST, here, None, "p")["all"]["hosts"]["web1"]
    assert variables["ansible_connection"] == "local"


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_secret_reaches_ansible_as_it_is(revealed):
    document = inventory.secrets_document(revealed)
    # surrogates cannot be written to a pipe at all
    if not any("\ud800" <= c <= "\udfff" for pair in revealed.items() for c in "".join(pair)):
        assert yaml.load(document, _Loader) == {"strata_secrets": revealed}
    assert document.isascii()


def test_roles_are_looked_for_beside_the_persona_then_in_the_lab_then_where_ansible_does():
    path = inventory.roles_path(errand(), HOST, Path("/lab"), ("vendor", "/opt/roles"))
    first = ["/lab/personas/web/roles", "/lab/roles", "/lab/vendor", "/opt/roles"]
    assert path.split(":")[:4] == first
    assert "~/.ansible/roles" in path


# -- events --------------------------------------------------------------------------------------


@pytest.fixture
def hidden():
    hide("hunter22", "db")
    yield
    forget()


def listener(*events):
    heard = Listener()
    for number, event in enumerate(events):
        task = {"id": str(number), "name": "Do", "of": "r", "path": "/lab/roles/r/x.yml:1"}
        known = {"handler": False, "status": "ok", "ignored": False, "hidden": False}
        known |= {"changed": False, "found": {}, "items": []}
        heard.started({**task, **known, **event})
        heard.finished({**task, **known, **event})
    failed = sum(e.get("status") == "failed" for e in events)
    heard.end({"hosts": ["web1"], "failed": failed, "gone": 0})
    return heard


def differences(diff):
    (step,) = listener({"changed": True, "found": {"diff": diff}}).steps
    return {d.field: (d.before, d.after, d.text) for d in step.differences}


def test_attributes_are_told_one_by_one():
    diff = {"before": {"path": "/a", "mode": "0644"}, "after": {"path": "/a", "mode": "0600"}}
    assert differences(diff) == {"mode": ("0644", "0600", "")}


def test_contents_are_told_as_lines_and_compared_by_digest():
    found = differences([{"before": "a\nb\n", "after": "a\nc\n", "after_header": "/tmp/x1/a.j2"}])
    assert "-b" in found["content"][2]
    assert "+c" in found["content"][2]
    assert found == differences(
        [{"before": "a\nb\n", "after": "a\nc\n", "after_header": "/tmp/x2"}]
    )


def test_what_a_module_prepared_is_told_as_it_is():
    assert differences({"prepared": "+jq 1.7"})["changes"][2] == "+jq 1.7"


def test_items_of_a_loop_have_names_of_their_own():
    items = [
        {"changed": True, "diff": {"before": "", "after": "a"}},
        {"changed": False, "diff": {"before": "", "after": "no"}},
        {"changed": True, "diff": {"before": "", "after": "b"}},
    ]
    (step,) = listener({"changed": True, "items": items}).steps
    assert [d.field for d in step.differences] == ["content", "content (2)"]


def test_of_a_file_with_a_secret_in_it_no_line_is_shown(hidden):
    diff = [{"before": "password=old\n", "after": "password=hunter22\n"}]
    assert differences(diff) == {"content": ("(secret)", "(secret)", "")}
    (step,) = listener({"changed": True, "found": {"diff": diff}}).steps
    assert step.differences[0].secret


def test_no_log_hides_everything():
    (step,) = listener(
        {"changed": True, "hidden": True, "found": {"diff": {"prepared": "x"}}}
    ).steps
    assert [d.field for d in step.differences] == ["no_log"]


@pytest.mark.parametrize(
    "said",
    [
        "Command would have run if not in check mode",
        "remote module (ansible.legacy.x) does not support check mode",
    ],
)
def test_what_check_mode_skips_is_unseen(said):
    (step,) = listener({"status": "skipped", "found": {"msg": said}}).steps
    assert step.unseen


def test_what_its_own_condition_skips_is_nothing():
    assert not listener({"status": "skipped", "found": {"skip_reason": "Conditional"}}).steps


def test_a_handler_that_was_notified_will_run_even_if_check_mode_skips_it():
    skipped = {"msg": "Command would have run if not in check mode"}
    (step,) = listener({"handler": True, "status": "skipped", "found": skipped}).steps
    assert not step.unseen


def test_tasks_of_the_same_name_have_names_of_their_own():
    steps = listener({"changed": True}, {}, {"changed": True}).steps
    assert [s.name for s in steps] == ["task r: Do", "task r: Do (3)"]
    assert {s.bare for s in steps} == {"Do"}


def test_a_failure_is_told_in_the_modules_words_without_secrets(hidden):
    found = {"msg": "no hunter22 there.", "stderr": "one\ntwo hunter22\n"}
    failure = listener({"status": "failed", "found": found}).failure
    assert failure is not None
    assert failure.said == "no (secret db) there"
    assert failure.lines == ("one", "two (secret db)")


def test_a_command_that_failed_is_told_by_its_last_words():
    found = {"msg": "non-zero return code", "rc": 3, "stderr": "first\nlast\n", "stdout": "out"}
    failure = listener({"status": "failed", "found": found}).failure
    assert failure is not None
    assert failure.said == "last (status 3)"


def test_an_ignored_or_rescued_failure_is_none():
    assert listener({"status": "failed", "ignored": True}).failure is None
    heard = Listener()
    heard.end({"hosts": ["web1"], "failed": 0, "gone": 0})
    assert heard.failure is None


def test_a_secret_that_was_masked_on_the_way_still_hides_the_lines_around_it(hidden):
    diff = [{"before": "password=old\n", "after": "password=(secret db)\n"}]
    assert differences(diff) == {"content": ("(secret)", "(secret)", "")}

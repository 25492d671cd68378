"""Machines that are there already: logged in to, and never changed."""

from __future__ import annotations

import pytest

from lab import Approval, Lab
from lab.errors import ConfigError
from lab.layer import Above, Target
from lab.model.host import Host
from lab.model.outcome import ExitCode, Outcome
from lab.model.plan import Plan
from lab.model.secret import Secret
from layers.l2_instantiate import LAYER, planner
from layers.l2_instantiate.spec import Document, Existing, Inputs, Observed, Spec

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOPUo1IbHdTmUgUUdJHzaXLkVnSMPlsVBmu7mCcHn1qG"
LAB = "name: there\nproviders:\n  there: {kind: existing}\n  box: {kind: qemu}\n"
PERSONA = "purpose: storage\nsystem: none\n"


def target(address="nas.lan", **existing):
    spec = Spec(existing=Existing(**existing))
    absent = existing.pop("absent", False)
    host = Host("nas1", "nas", "there", address=address)
    return Target(host, spec, Inputs(), absent=absent)


def problems(lab_dir, host, persona=PERSONA):
    files = {"lab.yaml": LAB, "personas/nas.yaml": persona}
    root = lab_dir({**files, "inventory/hosts.yaml": f"hosts:\n  nas1: {{{host}}}\n"})
    try:
        with Lab.load(root):
            return []
    except ConfigError as error:
        return [str(p) for p in error.problems]


def test_what_is_handed_up_is_what_is_declared():
    handed = planner.outputs(
        target("192.0.2.9/24", user="ops", port=2222, host_key=f"{KEY} root@nas"), Observed()
    )
    assert (handed.address, handed.port, handed.user) == ("192.0.2.9", 2222, "ops")
    assert handed.host_key == KEY  # the comment is no part of a key
    assert handed.connection == "ssh"


def test_the_machine_that_strata_runs_on_needs_no_ssh():
    assert planner.outputs(target("local"), Observed()).connection == "local"


def test_nothing_is_ever_planned_on_it():
    assert planner.plan(target(), Observed(power="running"), frozenset()) == Plan()
    assert planner.predict(target(), None, Plan()).above is Above.AS_IS


def test_one_that_is_not_believed_is_a_blocker_with_the_line_that_helps():
    observed = Observed(refused="its host key is not in known_hosts", hint="ssh-keyscan nas.lan")
    (blocker,) = planner.plan(target(), observed, frozenset()).blockers
    assert (blocker.why, blocker.hint) == (observed.refused, observed.hint)


def test_the_ledger_reads_it_back_and_holds_but_the_name_of_the_password():
    spec = Spec(existing=Existing(user="ops", sudo_password=Secret("of_ops")))
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
    assert "(secret of_ops)" in spec.model_dump_json()


def test_the_provider_alone_declares_a_machine():
    document = Document.model_validate({"provider": {"kind": "existing"}})
    (part,) = LAYER.parts(document)
    assert part.driver == "existing"


@pytest.mark.parametrize(
    ("host", "persona", "said"),
    [
        (
            "persona: nas, provider: there",
            PERSONA,
            "inventory/hosts.yaml:2:24: a machine that is there already needs its address",
        ),
        (
            "persona: nas, provider: there, address: nas.lan",
            f"{PERSONA}machine: {{memory: 1GiB, disks: {{root: {{size: 4GiB}}}}}}\n",
            "personas/nas.yaml:3:1: the machines of this provider are there already",
        ),
        (
            "persona: nas, provider: there, address: nas.lan",
            f"{PERSONA}image: {{base: debian-13}}\n",
            "personas/nas.yaml:3:1: the machines of this provider are there already",
        ),
        (
            "persona: nas, provider: box, existing: {user: me}",
            PERSONA,
            "inventory/hosts.yaml:2:39: the provider makes its machines (kind: qemu)",
        ),
        (
            "persona: nas, provider: there, address: 10.0.0.300",
            PERSONA,
            "inventory/hosts.yaml:2:41: '10.0.0.300' is not an address",
        ),
        (
            "persona: nas, provider: box, address: nas.lan",
            f"{PERSONA}machine: {{memory: 1GiB, disks: {{root: {{size: 4GiB}}}}}}\n",
            "inventory/hosts.yaml:2:39: 'nas.lan' is not an address",
        ),
        (
            "persona: nas, provider: there, address: nas.lan, existing: {sudo_password: secret}",
            PERSONA,
            "inventory/hosts.yaml:2:70: this is a secret: write !secret and its name",
        ),
        (
            "persona: nas, provider: there, address: nas.lan, existing: {host_key: nonsense}",
            PERSONA,
            "inventory/hosts.yaml:2:70: a host key is written as in /etc/ssh/ssh_host_ed25519",
        ),
        (
            "persona: nas, provider: there, address: local, existing: {port: 2222}",
            PERSONA,
            "inventory/hosts.yaml:2:68: the machine that Strata runs on is not logged in to",
        ),
    ],
)
def test_a_mistake_is_told_where_it_stands(lab_dir, host, persona, said):
    (problem,) = problems(lab_dir, host, persona)
    assert problem.startswith(said)


@pytest.mark.parametrize("address", ["nas.lan", "nas", "192.0.2.9", "192.0.2.9/24", "fd00::9"])
def test_a_name_is_as_good_as_an_address(lab_dir, address):
    assert problems(lab_dir, f'persona: nas, provider: there, address: "{address}"') == []


def lab_of(lab_dir, sandbox_host, **more):
    values = {
        "user": sandbox_host.user,
        "port": sandbox_host.port,
        "host_key": f'"{sandbox_host.host_key}"',
        "identity_file": sandbox_host.identity_file,
        **more,
    }
    existing = ", ".join(f"{k}: {v}" for k, v in values.items())
    entry = f"persona: nas, provider: there, address: {sandbox_host.address}"
    return lab_dir(
        {
            "lab.yaml": LAB,
            "personas/nas.yaml": "purpose: storage\nsystem: {packages: [bash]}\n",
            "inventory/hosts.yaml": f"hosts:\n  nas1: {{{entry}, existing: {{{existing}}}}}\n",
        }
    )


@pytest.mark.engine
def test_a_real_one_is_logged_in_to_and_what_stands_above_it_is_planned(sandbox, lab_dir):
    with Lab.load(lab_of(lab_dir, sandbox.host("l2-existing"))) as lab:
        report = lab.plan("host=nas1")
        outcomes = {p.layer: p.outcome for p in report.parts}
        assert outcomes["l2_instantiate"] is Outcome.UNCHANGED
        assert not [p.plan.blockers for p in report.parts if p.plan.blockers]


@pytest.mark.engine
def test_a_stranger_at_its_address_is_refused_and_nothing_is_done(sandbox, lab_dir):
    host = sandbox.host("l2-existing")
    with Lab.load(lab_of(lab_dir, host, host_key=f'"{KEY}"')) as lab:
        report = lab.converge("host=nas1")
        assert report.exit_code is ExitCode.REFUSED
        assert report.changes == 0
        machine = next(p for p in report.parts if p.layer == "l2_instantiate")
        assert "does not show the host key that is declared" in machine.failure.message
        assert f"ssh-keyscan -t ed25519 -p {host.port} {host.address}" in machine.failure.hint


@pytest.mark.engine
def test_one_that_is_off_is_behind_and_not_failed(sandbox, lab_dir):
    host = sandbox.host("l2-existing-off")
    root = lab_of(lab_dir, host)
    host.kill()
    with Lab.load(root) as lab:
        assert lab.converge("host=nas1").exit_code is ExitCode.UNREACHABLE


@pytest.mark.engine
def test_destroying_only_forgets_it(sandbox, lab_dir):
    host = sandbox.host("l2-existing")
    everything = "find /etc /home /root /srv /usr/local -printf '%p %s %T@\\n' | sort | sha256sum"
    before = host.run(everything)
    with Lab.load(lab_of(lab_dir, host)) as lab:
        assert lab.converge("host=nas1", layer="l2").exit_code is ExitCode.OK
        assert [o.host for o in lab._journal.ledger()] == ["nas1"]
        assert lab.plan_destroy("host=nas1").changes == 0
        lab.destroy("host=nas1", approval=Approval(only={}))
        assert lab._journal.ledger() == []
    assert host.run(everything) == before

"""What is run for packages: strings, compared as strings."""

from __future__ import annotations

from lab.model.plan import Action, Change, FieldDiff
from layers.l3_system.kinds import package

STATE = (FieldDiff("state", None, "installed"),)


def test_all_that_come_are_one_transaction_recorded_before_it():
    changes = [Change(Action.CREATE, f"package {n}", STATE) for n in ("curl", "git")]
    (step,) = package.steps(changes, {})
    assert step.changes == tuple(changes)
    assert "install -- curl git </dev/null" in step.script
    assert step.script.index("own 'package git' made") < step.script.index("install --")


def test_what_is_finished_is_not_recorded_as_ours():
    (step,) = package.steps([Change(Action.UPDATE, "package curl", STATE)], {})
    assert "own " not in step.script


def test_what_is_gone_already_is_only_forgotten():
    (step,) = package.steps([Change(Action.DELETE, "package no-such")], {})
    assert step.script == "disown 'package no-such'"


def test_installing_never_removes():
    (step,) = package.steps([Change(Action.CREATE, "package curl", STATE)], {})
    assert "--no-remove" in step.script
    assert "--no-install-recommends" in step.script
    assert "DPkg::Lock::Timeout" in step.script

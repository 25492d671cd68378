"""Ansible as the one who carries out roles and playbooks; check mode is the observation."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.clients import process
from lab.errors import DeadlineExceeded
from lab.layer import Workspace
from lab.model.plan import Change
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.ansible.failures import broken, failed, not_for
from layers.l3_system.drivers.ansible.job import AnsibleTarget, job, require, title
from layers.l3_system.drivers.ansible.results import Listener
from layers.l3_system.drivers.teller import Teller
from layers.l3_system.errands import digest
from layers.l3_system.spec.errands import Rehearsal

_HERE = Path(__file__).parent
_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class _Over:
    """How Ansible ended, and the last it said."""

    status: str
    output: tuple[str, ...]


class AnsibleDriver:
    """Runs ansible-core 2.19 through ansible-runner, one host a run."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: AnsibleTarget) -> Rehearsal:
        """Rehearse: one round trip of our own, then check mode with diffs in one run."""
        require("ansible_runner", "ansible", target)
        target.report("looks around")
        there = reach.look(self._workspace, target)
        missing = _missing(target, there)
        if missing:
            return Rehearsal(missing=missing)
        heard = Listener()
        self._run(target, there.python, heard, check=True)
        stopped = heard.failure
        if stopped is None:
            return Rehearsal(steps=tuple(heard.steps), applied=there.applied)
        if stopped.gone:
            raise failed(self._workspace.root, target, stopped, "rehearse")
        return Rehearsal(
            steps=tuple(heard.steps),
            stopped=stopped.name,
            why=stopped.said,
            applied=there.applied,
        )

    def apply(self, target: AnsibleTarget, change: Change) -> None:
        """Carry it out; a role cannot be carried out in pieces, so all of it."""
        self.apply_batch(target, [change], lambda _: None, lambda _: None)

    def apply_batch(
        self,
        target: AnsibleTarget,
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """One run; each change is told of when its task is."""
        there = reach.look(self._workspace, target)
        told = Teller(changes, started, done)
        heard = Listener()
        self._run(target, there.python, heard, check=False, told=told)
        if heard.failure is not None:
            raise failed(self._workspace.root, target, heard.failure, "run")
        reach.record(self._workspace, target, digest(target))
        told.rest()

    def _run(
        self,
        target: AnsibleTarget,
        python: str,
        heard: Listener,
        *,
        check: bool,
        told: Teller | None = None,
    ) -> None:
        """One run to its end; raises where Ansible did not get to an end of its own."""
        errand = target.spec
        over: list[_Over] = []

        def take(line: str) -> None:
            with suppress(ValueError):
                self._take(target, json.loads(line), heard, told, over)

        with reach.scratch(self._workspace) as folder:
            told_it = job(self._workspace.root, target, python, folder, check=check)
            doing = f"{'rehearse' if check else 'run'} {title(target)} on {target.host.name}"
            try:
                process.run(
                    [sys.executable, "-P", _HERE / "worker.py"],
                    doing=doing,
                    deadline=errand.options.deadline + _GRACE,
                    cancelled=self._workspace.cancelled,
                    stdin=json.dumps(told_it).encode(),
                    on_line=take,
                    check=False,
                )
            except DeadlineExceeded as error:  # its lines are events, and may hold secrets
                raise DeadlineExceeded(
                    error.message, hint="more time: system: {ansible: {deadline: 1h}}"
                ) from None
        self._workspace.check()
        unsaid = bool(over) and over[0].status != "successful" and heard.failure is None
        if not heard.ended or not over or unsaid:
            raise broken(target, doing, over[0].output if over else ())
        if target.host.name not in heard.hosts:
            raise not_for(target, doing)

    def _take(
        self,
        target: AnsibleTarget,
        event: dict[str, Any],
        heard: Listener,
        told: Teller | None,
        over: list[_Over],
    ) -> None:
        match event["event"]:
            case "task":
                name = heard.started(event)
                target.report(name)
                if told is not None:
                    told.started(name)
            case "result":
                name = heard.finished(event)
                if told is not None and event["status"] in {"ok", "skipped"}:
                    told.done(name)
            case "end":
                heard.end(event)
            case "over":
                over.append(_Over(event["status"], tuple(event["output"])))


def _missing(target: AnsibleTarget, there: reach.There) -> str:
    if not there.python:
        return "python3"
    here = target.inputs.connection == "local" and os.geteuid() == 0
    return "" if here or target.inputs.user == "root" or there.sudo else "sudo"

"""Ansible as the one who carries out roles and playbooks; check mode is the observation."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.clients import process
from lab.errors import DeadlineExceeded, DriverError, TransportError
from lab.layer import Target, Workspace
from lab.masking import mask
from lab.model.files import LabFile
from lab.model.plan import Change
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.ansible import inventory
from layers.l3_system.drivers.ansible.inventory import AnsibleErrand
from layers.l3_system.drivers.ansible.results import Failure, Listener
from layers.l3_system.drivers.teller import Teller
from layers.l3_system.errands import digest
from layers.l3_system.spec import Inputs
from layers.l3_system.spec.errands import Rehearsal, RolesErrand
from layers.l3_system.spec.handed import roles_path

AnsibleTarget = Target[AnsibleErrand, Inputs]

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
        _require("ansible_runner", "ansible", target)
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
        if stopped.gone or not heard.steps:
            raise self._explained(target, stopped, "rehearse")
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
            raise self._explained(target, heard.failure, "run")
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
            job = self._job(target, python, folder, check=check)
            doing = f"{'rehearse' if check else 'run'} {_title(target)} on {target.host.name}"
            try:
                process.run(
                    [sys.executable, "-P", _HERE / "worker.py"],
                    doing=doing,
                    deadline=errand.options.deadline + _GRACE,
                    cancelled=self._workspace.cancelled,
                    stdin=json.dumps(job).encode(),
                    on_line=take,
                    check=False,
                )
            except DeadlineExceeded as error:  # its lines are events, and may hold secrets
                raise DeadlineExceeded(
                    error.message, hint="more time: system: {ansible: {deadline: 1h}}"
                ) from None
        self._workspace.check()
        if not heard.ended or not over:
            raise _broken(target, doing, over[0].output if over else ())
        if target.host.name not in heard.hosts:
            raise _not_for(target, doing)

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

    def _explained(self, target: AnsibleTarget, failure: Failure, verb: str) -> DriverError:
        host = target.host.name
        if failure.gone:
            return TransportError(
                f"Unable to {verb} {failure.name} on {host}: the connection is gone: "
                f"{failure.said}.",
                hint=f"lab plan l3 host={host}",
            )
        where = failure.path.removeprefix(f"{self._workspace.root}/") or "the role"
        return DriverError(
            f"Unable to {verb} {failure.name} on {host}: {failure.said}.",
            hint=f"it stands in {where}; to look around: lab ssh {host}; "
            f"then: lab converge l3 host={host}",
            lines=failure.lines,
        )

    def _job(
        self, target: AnsibleTarget, python: str, folder: Path, *, check: bool
    ) -> dict[str, Any]:
        errand, root = target.spec, self._workspace.root
        to = reach.endpoint(target)
        hosts = inventory.inventory(target.host, to, reach.known_hosts(to, folder), python)
        values = inventory.extra_variables(errand)
        if isinstance(errand, RolesErrand):
            playbook = _write(folder / "roles", inventory.play(errand))
        else:
            playbook = str(root / errand.playbook.playbook.main.path)
        arguments = [*(["--check"] if check else []), "--diff"]
        arguments += ["-e", f"@{_write(folder / 'values.json', values)}"] if values else []
        arguments += ["--tags", ",".join(errand.tags)] if errand.tags else []
        secrets = inventory.secrets_of(errand, target.host, to)
        if secrets:
            arguments += ["-e", f"@{folder / 'secrets'}"]
        revealed = {name: secret.reveal() for name, secret in secrets.items()}
        (folder / "c").mkdir()
        return {
            "folder": str(folder),
            "project": str(root),
            "playbook": playbook,
            "inventory": _write(folder / "inventory.json", hosts),
            "arguments": shlex.join(arguments),
            "environment": self._environment(target, folder),
            "secrets": inventory.secrets_document(revealed),
        }

    def _environment(self, target: AnsibleTarget, folder: Path) -> dict[str, str]:
        """Ansible's settings: the lab's ansible.cfg, no other, and what must be so."""
        root, errand = self._workspace.root, target.spec
        configuration = root / "ansible.cfg"
        configured: tuple[str, ...] = ()
        if configuration.exists():
            configured = roles_path(LabFile("ansible.cfg", configuration.read_bytes()))
        else:
            configuration = folder / "ansible.cfg"
            configuration.touch()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "ANSIBLE_CONFIG": str(configuration),
            "ANSIBLE_ROLES_PATH": inventory.roles_path(errand, target.host, root, configured),
            "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback_plugins"),
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_BECOME": "True",
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_TIMEOUT": "30",
            "ANSIBLE_NO_TARGET_SYSLOG": "True",  # modules write their arguments into it
            "ANSIBLE_LOG_PATH": "/dev/null",
            "ANSIBLE_LOCAL_TEMP": str(folder / "t"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
            "ANSIBLE_DEPRECATION_WARNINGS": "False",
            "ANSIBLE_NOCOLOR": "True",
        }
        if errand.options.strategy == "mitogen":
            environment |= _mitogen(target)
        return environment


def _require(module: str, extra: str, target: AnsibleTarget) -> None:
    if importlib.util.find_spec(module) is None:
        raise DriverError(
            f"Unable to run {_title(target)} on {target.host.name}: "
            f"{module.replace('_', '-')} is not installed here.",
            hint=f"pip install 'strata-lab[{extra}]'",
        )


def _missing(target: AnsibleTarget, there: reach.There) -> str:
    if not there.python:
        return "python3"
    here = target.inputs.connection == "local" and os.geteuid() == 0
    return "" if here or target.inputs.user == "root" or there.sudo else "sudo"


def _title(target: AnsibleTarget) -> str:
    return ", ".join(name for name, _ in target.spec.pieces)


def _mitogen(target: AnsibleTarget) -> dict[str, str]:
    _require("ansible_mitogen", "peers", target)
    spec = importlib.util.find_spec("ansible_mitogen")
    folder = Path(spec.origin if spec is not None and spec.origin else "").parent
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(folder / "plugins/strategy"),
    }


def _write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def _broken(target: AnsibleTarget, doing: str, output: Sequence[str]) -> DriverError:
    """Ansible gave up before it began: mistakes in a role or a playbook, mostly."""
    lines = [mask(line.rstrip()) for line in output if line.strip()]
    errors = [line for line in lines if line.startswith(("[ERROR]:", "ERROR!"))]
    origin = next((line for line in lines if line.startswith("Origin:")), "")
    said = errors[-1].split(":", 1)[-1].removeprefix("ERROR!").strip() if errors else ""
    where = origin.removeprefix("Origin:").strip()
    return DriverError(
        f"Unable to {doing}: {(said or 'Ansible ended before it began').rstrip('.')}"
        f"{f' ({where})' if where else ''}.",
        hint=f"mend it, then: lab plan l3 host={target.host.name}",
        lines=lines[-20:],
    )


def _not_for(target: AnsibleTarget, doing: str) -> DriverError:
    host = target.host
    groups = ", ".join(sorted({host.persona, host.provider, *host.tags}))
    return DriverError(
        f"Unable to {doing}: none of its plays is for {host.name}.",
        hint=f"'hosts: all', or one of the host's groups: {groups}",
    )

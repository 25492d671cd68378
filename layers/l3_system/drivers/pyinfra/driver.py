"""pyinfra as the one who carries out deploys; its dry run is the observation."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.clients import process
from lab.clients.shell import Endpoint
from lab.errors import DeadlineExceeded, DriverError, TransportError
from lab.layer import Target, Workspace
from lab.masking import mask
from lab.model.plan import Change
from lab.model.secret import Secret
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.teller import Teller
from layers.l3_system.errands import digest
from layers.l3_system.spec import Inputs
from layers.l3_system.spec.errands import DeployErrand, Difference, Rehearsal, Step

DeployTarget = Target[DeployErrand, Inputs]

_WORKER = Path(__file__).parent / "worker.py"
_DEADLINE = 1800.0


class PyinfraDriver:
    """Runs pyinfra 3.10, one host and one deploy a process."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: DeployTarget) -> Rehearsal:
        """Rehearse: facts in as few round trips as they depend on each other."""
        if importlib.util.find_spec("pyinfra") is None:
            raise DriverError(
                f"Unable to run {_title(target)} on {target.host.name}: pyinfra is not installed "
                "here.",
                hint="pip install 'strata-lab[pyinfra]'",
            )
        if target.inputs.connection != "ssh":
            raise DriverError(
                f"Unable to run {_title(target)} on {target.host.name}: deploys go by ssh, and "
                "this machine is not reached by it.",
                hint="give the host an address where its sshd listens, or write it as a role",
            )
        target.report("looks around")
        there = reach.look(self._workspace, target)
        target.report("asks for facts")
        found = self._work(target, rehearse=True)
        steps = tuple(_step(target, step) for step in found["steps"])
        return Rehearsal(steps=steps, applied=there.applied)

    def apply(self, target: DeployTarget, change: Change) -> None:
        """Carry it out; operations depend on each other, so all of it."""
        self.apply_batch(target, [change], lambda _: None, lambda _: None)

    def apply_batch(
        self,
        target: DeployTarget,
        changes: Sequence[Change],
        started: Callable[[Change], None],
        done: Callable[[Change], None],
    ) -> None:
        """One run; each change is told of when its operation is."""
        told = Teller(changes, started, done)
        self._work(target, rehearse=False, told=told)
        reach.record(self._workspace, target, digest(target))
        told.rest()

    def _work(
        self,
        target: DeployTarget,
        *,
        rehearse: bool,
        told: Teller | None = None,
    ) -> dict[str, Any]:
        to = reach.endpoint(target)
        doing = f"{'rehearse' if rehearse else 'run'} {_title(target)} on {target.host.name}"
        failed: list[str] = []

        def take(line: str) -> None:
            event = json.loads(line)
            name = _named(target, mask(event["name"]))
            if event["event"] == "failed":
                failed.append(name)
            elif told is not None and event["event"] == "start":
                target.report(name)
                told.started(name)
            elif told is not None:
                told.done(name)

        with reach.scratch(self._workspace) as folder:
            job = {
                "deploy": str(self._workspace.root / target.spec.deploy.deploy.main.path),
                "host": target.host.name,
                "data": {**_values(target), **_connection(to, folder)},
                "groups": sorted({target.host.persona, target.host.provider, *target.host.tags}),
                "sudo": to.user != "root",
                "sudo_password": to.sudo_password.reveal() if to.sudo_password else None,
                "rehearse": rehearse,
                "batching": True,
            }
            try:
                finished = process.run(
                    [sys.executable, "-P", _WORKER],
                    doing=doing,
                    deadline=_DEADLINE,
                    cancelled=self._workspace.cancelled,
                    stdin=json.dumps(job).encode(),
                    on_line=take,
                    check=False,
                )
            except DeadlineExceeded as error:
                raise DeadlineExceeded(error.message) from None
        result: dict[str, Any] = json.loads(finished.stdout or b"{}")
        if "error" in result or finished.status != 0:
            raise _explained(target, doing, result, failed)
        return result


def _title(target: DeployTarget) -> str:
    return f"deploy {target.spec.deploy.deploy.main.path}"


def _named(target: DeployTarget, name: str) -> str:
    file = target.spec.deploy.deploy.main.path.rpartition("/")[2]
    return f"operation {file}: {name}"


def _step(target: DeployTarget, found: Mapping[str, Any]) -> Step:
    commands = "\n".join(f"+{mask(line)}" for c in found["commands"] for line in c.splitlines())
    return Step(
        name=_named(target, mask(found["name"])),
        bare=mask(found["bare"]),
        differences=(Difference(field="commands", before=0, after=found["count"], text=commands),),
        unseen=found["unseen"],
    )


def _values(target: DeployTarget) -> dict[str, Any]:
    """What the deploy finds as ``host.data``: secrets in clear, in memory and in pipes only."""
    host = target.host
    values = {
        "strata_name": host.name,
        "strata_persona": host.persona,
        "strata_provider": host.provider,
        "strata_tags": sorted(host.tags),
        **host.vars,
        **target.spec.deploy.data,
    }
    return {name: _revealed(value) for name, value in values.items()}


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {str(k): _revealed(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(v) for v in value]
    return value


def _connection(to: Endpoint, folder: Path) -> dict[str, Any]:
    """Our endpoint in pyinfra's words. What is left out comes from the user's ~/.ssh/config."""
    data: dict[str, Any] = {
        "ssh_hostname": to.address,
        "ssh_port": to.port,
        "ssh_strict_host_key_checking": "yes",
        **({"ssh_user": to.user} if to.user else {}),
        **({"ssh_key": to.identity_file} if to.identity_file else {}),
    }
    if to.host_key is not None:
        known = folder / "known_hosts"
        name = to.address if to.port == 22 else f"[{to.address}]:{to.port}"  # noqa: PLR2004 (ssh's)
        known.write_text(f"{name} {to.host_key}\n")
        data["ssh_known_hosts_file"] = str(known)
    return data


def _explained(
    target: DeployTarget,
    doing: str,
    result: Mapping[str, Any],
    failed: Sequence[str],
) -> DriverError:
    host, kind = target.host.name, result.get("error", "")
    said = mask(" ".join(str(result.get("said", "pyinfra ended early")).split())).rstrip(".")
    lines = [mask(line) for line in result.get("lines", ()) if line.strip()]
    if kind == "connect":
        return TransportError(f"Unable to {doing}: {said}.", hint=f"lab plan l3 host={host}")
    path = target.spec.deploy.deploy.main.path
    if kind == "code":
        where = f"{path}:{result['line']}" if result["line"] else path
        return DriverError(
            f"Unable to {doing}: {said} ({where}).",
            hint=f"mend it, then: lab plan l3 host={host}",
        )
    if failed:
        doing = f"run {failed[-1]} on {host}"
        said = lines[-1].strip().rstrip(".") if lines else said
    return DriverError(
        f"Unable to {doing}: {said}.",
        hint=f"it stands in {path}; to look around: lab ssh {host}; "
        f"then: lab converge l3 host={host}",
        lines=lines,
    )

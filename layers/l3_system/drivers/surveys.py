"""Looking at a whole machine: what is on it besides what is declared."""

from __future__ import annotations

import secrets
from pathlib import Path

from lab.abilities import Described
from lab.clients.shell import Shell
from lab.errors import DriverError
from lab.layer import Target
from lab.model.undeclared import Known, Sort, Undeclared
from layers.l3_system.planner import wanted
from layers.l3_system.spec import Inputs, Spec
from layers.l3_system.survey import describing, facts, judging, script
from layers.l3_system.survey.declared import Lab
from layers.l3_system.survey.keys import key_of

SystemTarget = Target[Spec, Inputs]
_DOING = "look at the whole machine"


def survey(shell: Shell, target: SystemTarget, known: Known) -> tuple[Undeclared, ...]:
    """One round trip, about a second; raises what the shell raises."""
    return judging.undeclared(look(shell, target, known), declared(target, known))


def describe(shell: Shell, target: SystemTarget, known: Known) -> Described:
    """The machine as a persona would declare it: two round trips."""
    found, lab = look(shell, target, known), declared(target, known)
    wanted_files = describing.paths(found, lab)
    nonce = secrets.token_hex(12)
    target.report(f"reads {len(wanted_files)} files")
    reply = shell.run(
        describing.fetching(nonce, wanted_files),
        doing="read the files that differ",
        deadline=script.DEADLINE,
    )
    kept = describing.fetched(nonce, reply.stdout)
    return describing.described(found, kept, lab, target.host.name)


def look(shell: Shell, target: SystemTarget, known: Known) -> facts.Facts:
    """Everything that is on the machine, as far as it was looked at."""
    target.report("looks at the whole machine")
    nonce = secrets.token_hex(12)
    kept = {path for sort, path in known if sort is Sort.DIRECTORY}
    kept |= {f.mount for f in target.spec.filesystems.values()}
    reply = shell.run(
        script.script(nonce, kept), doing=_DOING, deadline=script.DEADLINE, check=False
    )
    found = facts.read(nonce, reply.stdout)
    if found is None:
        lines = reply.lines
        cause = lines[-1].rstrip(".") if lines else "the answer of the host is cut short"
        raise DriverError(
            f"Unable to {_DOING} on {target.host.name}: {cause}.",
            hint=f"lab entropy host={target.host.name}",
            status=reply.status,
            lines=lines,
        )
    return found


def declared(target: SystemTarget, known: Known) -> Lab:
    """What the lab says of the machine."""
    return Lab(
        spec=target.spec,
        wanted=wanted(target),
        known=known,
        baseline=target.inputs.baseline,
        login=target.inputs.user or "",
        keys=_login_keys(target.inputs.identity_file),
    )


def _login_keys(identity_file: str | None) -> frozenset[str]:
    """The public half of the key that the lab itself logs in with, where it lies beside it."""
    if identity_file is None:
        return frozenset()
    try:
        lines = Path(f"{identity_file}.pub").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(key for line in lines if (key := key_of(line)))

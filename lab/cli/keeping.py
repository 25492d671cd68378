"""What ``lab secrets …`` does: ask for values, call the library, show what came of it."""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from lab.api.secrets import Recipe, SecretInfo
from lab.cli import verbs
from lab.cli.options import Scope, Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened_for_secrets
from lab.cli.text import tables
from lab.cli.text.look import clean, line, pad
from lab.errors import LabError, PlanError
from lab.model.outcome import ExitCode

Wanted = Recipe
_MAX_STDIN = 512 * 1024


def init(settings: Settings) -> int:
    """``lab secrets init``."""
    with opened_for_secrets(settings) as session:
        done = session.lab.secrets.begin()
        session.screen.show([line(d[:1].upper() + d[1:]) for d in done] or [line("All in order.")])
        session.hint("lab secrets set NAME")
    return ExitCode.OK


def put(settings: Settings, name: str, file: str | None, *, no_input: bool) -> int:
    """``lab secrets set``."""
    with opened_for_secrets(settings) as session:
        value = _value(session, f"Value of {name}", no_input=no_input)
        written = session.lab.secrets.set(name, value, file)
        session.screen.show([line(f"{name} is kept in {written}")])
        _next(session, name)
    return ExitCode.OK


def generate(
    settings: Settings, name: str, wanted: Recipe, file: str | None, *, no_input: bool
) -> int:
    """``lab secrets generate``."""
    with opened_for_secrets(settings) as session:
        keeper, password = session.lab.secrets, None
        if wanted.kind == "password-hash" and not wanted.of and not keeper.has(name):
            password = _value(session, "Password", no_input=no_input)
        made, public = keeper.generate(name, wanted, password, file)
        if settings.json:
            body = {"name": name, "made": made, "file": keeper.info(name).file, "public": public}
            _document(session, "lab.secrets.generate/1", body)
            return ExitCode.OK
        how = f"was made in {keeper.info(name).file}" if made else "is there already, and was kept"
        session.screen.say(line(f"{name} {how}"))
        session.screen.show([line(public)] if public else [])
        if made:
            _next(session, name)
    return ExitCode.OK


def _next(session: Session, name: str) -> None:
    hosts = session.lab.secrets.uses.get(name, ())
    session.hint(f"lab plan {_selector(hosts)}" if hosts else f"!secret {name}   (in a lab file)")


def _selector(hosts: Sequence[str]) -> str:
    return ",".join(f"host={host}" for host in hosts)


def get(settings: Settings, name: str, *, reveal: bool) -> int:
    """``lab secrets get``: the one place where a value is written out, because it was asked for."""
    with opened_for_secrets(settings) as session:
        keeper = session.lab.secrets
        info = keeper.info(name)
        if reveal and not settings.json:
            sys.stdout.write(keeper.reveal(name))
            sys.stdout.flush()
            return ExitCode.OK
        if reveal:
            raise LabError("Unable to reveal in JSON: a value goes out alone, as it is.")
        if settings.json:
            _document(session, "lab.secret/1", _plain(info))
            return ExitCode.OK
        rows = [
            ("name", info.name),
            ("kept in", info.where),
            ("used by", _users(info)),
            ("readers", ", ".join(info.readers)),
        ]
        session.screen.show([line((pad(k, 8), "cyan"), f"  {v}") for k, v in rows])
        session.hint(f"lab secrets get {name} --reveal")
    return ExitCode.OK


def _users(info: SecretInfo) -> str:
    if not info.used:
        return "(nothing)"
    return ", ".join(info.hosts) or "(this machine)"


def every(settings: Settings) -> int:
    """``lab secrets list``."""
    with opened_for_secrets(settings) as session:
        infos = session.lab.secrets.all()
        if settings.json:
            _document(session, "lab.secrets/1", {"secrets": [_plain(i) for i in infos]})
            return ExitCode.OK
        session.screen.show(_list_lines(infos))
        missing = next((i.name for i in infos if not i.file), None)
        session.hint(f"lab secrets set {missing}" if missing else "lab secrets doctor")
    return ExitCode.OK


def _list_lines(infos: Sequence[SecretInfo]) -> list[Text]:
    if not infos:
        return [line("No secret yet.")]
    rows = [(clean(i.name), i.file or "(not there)", _users(i), i) for i in infos if not i.public]
    width = max(4, *(len(r[0]) for r in rows)) if rows else 4
    files = max(4, *(len(r[1]) for r in rows)) if rows else 4
    lines = [line((f"{pad('name', width)}  {pad('file', files)}  used by", "bold"))]
    for name, file, users, info in rows:
        style = "" if info.file else "red"
        lines.append(line(pad(name, width), "  ", (pad(file, files), style), f"  {users}"))
    return lines


def edit(settings: Settings, what: str | None) -> int:
    """``lab secrets edit``."""
    with opened_for_secrets(settings) as session:
        if not session.screen.can_ask:
            raise PlanError(
                "Unable to edit: there is no terminal.",
                hint="lab secrets set NAME, with the value on standard input",
            )
        keeper = session.lab.secrets
        file = keeper.info(what).file if what is not None and keeper.has(what) else what

        def again(problem: str) -> bool:
            session.screen.say(line((problem, "red")))
            return not session.ask("Enter goes back to the editor, n gives up: ").startswith("n")

        written = keeper.edit(file, again)
        done = [f"Wrote {name}" for name in dict.fromkeys(written)] or ["Nothing was changed."]
        session.screen.show([line(d) for d in done])
    return ExitCode.OK


def rotate(settings: Settings, name: str, *, converge: bool, yes: bool, no_input: bool) -> int:
    """``lab secrets rotate NAME``; what cannot be finished is not begun."""
    with opened_for_secrets(settings) as session:
        keeper, value = session.lab.secrets, None
        asks = session.screen.can_ask and not no_input
        if converge and keeper.uses.get(name) and not yes and not asks:
            raise PlanError(
                f"{name} was not rotated: nobody can be asked whether to converge what uses it.",
                hint="the same command with --yes, or with --no-converge",
            )
        recipe = keeper.recipe(name)
        if recipe is None or (recipe.kind == "password-hash" and not recipe.of):
            value = _value(session, f"New value of {name}", no_input=no_input)
        hosts = keeper.rotate(name, value)
        session.screen.show([line(f"{name} has a new value.")])
        if not converge or not hosts:
            session.hint(f"lab converge {_selector(hosts)}" if hosts else "")
            return ExitCode.OK
    scope = Scope((_selector(hosts),))
    return verbs.converge(settings, scope, verbs.Answers(yes, no_input), adopt=False, jobs=None)


def renew_keys(settings: Settings) -> int:
    """``lab secrets rotate --keys``."""
    with opened_for_secrets(settings) as session:
        done = session.lab.secrets.encrypt_anew()
        session.screen.show([line(d[:1].upper() + d[1:]) for d in done] or [line("No secret yet.")])
    return ExitCode.OK


def remove(settings: Settings, name: str) -> int:
    """``lab secrets remove``."""
    with opened_for_secrets(settings) as session:
        session.lab.secrets.remove(name)
        session.screen.show([line(f"{name} is gone.")])
    return ExitCode.OK


def doctor(settings: Settings) -> int:
    """``lab secrets doctor``."""
    with opened_for_secrets(settings) as session:
        findings = session.lab.secrets.findings()
        if settings.json:
            body = {"findings": [dataclasses.asdict(f) for f in findings]}
            _document(session, "lab.doctor/1", body)
        else:
            session.screen.show(tables.doctor_lines(findings, session.screen.look))
        failed = any(f.level == "fail" for f in findings)
    return ExitCode.REFUSED if failed else ExitCode.OK


def _value(session: Session, what: str, *, no_input: bool) -> str:
    """A value that is not seen: typed twice without echo, or from a pipe. Raises LabError."""
    if sys.stdin is not None and not sys.stdin.isatty():
        text = sys.stdin.read(_MAX_STDIN + 1)
        if len(text) > _MAX_STDIN:
            raise LabError(f"Unable to take the value: more than {_MAX_STDIN} characters came.")
        lines = text.splitlines()
        value = lines[0] if len(lines) == 1 else text  # a password ends no line, a key file does
    elif no_input or not session.screen.can_ask:
        raise PlanError(
            "Unable to ask for the value: there is no terminal.", hint="give it on standard input"
        )
    else:
        value = _typed(f"{what} (not shown): ")
        if value != _typed("Once more: "):
            raise LabError("Unable to take the value: the two were not the same.")
    if not value:
        raise LabError("Unable to take the value: it is empty.")
    return value


def _typed(question: str) -> str:
    try:
        return getpass.getpass(question, stream=sys.stderr)
    except EOFError:
        return ""


def _plain(info: SecretInfo) -> dict[str, Any]:
    return dataclasses.asdict(info)


def _document(session: Session, schema: str, body: dict[str, Any]) -> None:
    write_json(session.screen, {"schema": schema, "lab": session.lab.name, **body}, indent=2)

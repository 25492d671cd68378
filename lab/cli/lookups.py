"""What the commands do that only look: load, ask the library, show."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from lab.api import HostStatus
from lab.cli.options import Settings
from lab.cli.pasts import run_in, show_run
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text import tables
from lab.cli.text.look import clean_lines, line, plural, show_seconds
from lab.cli.text.standings import status_lines
from lab.cli.words import nearest
from lab.errors import DriverError, LabError
from lab.model.outcome import ExitCode


def validate(settings: Settings) -> int:
    """``lab validate``: loading is validating."""
    started = time.monotonic()
    with opened(settings) as session:
        took = time.monotonic() - started
        hosts = session.lab.inventory.hosts
        personas = {h.persona for h in hosts.values()}
        counts = {"hosts": len(hosts), "personas": len(personas)}
        if settings.json:
            _document(session, "lab.validate/1", {"ok": True, **counts, "seconds": round(took, 3)})
            return ExitCode.OK
        what = f"{plural(len(hosts), 'host')}, {plural(len(personas), 'persona')}"
        text = line(("OK: ", "bold green"), what, (f" ({show_seconds(took)})", "dim"))
        session.screen.show([text])
        session.hint("lab plan")
    return ExitCode.OK


def status(settings: Settings, selectors: tuple[str, ...]) -> int:
    """``lab status``: exit 2 where something is behind, overdue or not to be relied on."""
    with opened(settings) as session:
        wanted = {h.name for h in session.lab.select(*selectors)} if selectors else None
        hosts = [s for s in session.lab.status() if wanted is None or s.host in wanted]
        if settings.json:
            _document(
                session,
                "lab.status/1",
                {"hosts": [_status(h) for h in hosts]},
            )
        else:
            purposes = session.lab.inventory.personas
            look, now = session.screen.look, datetime.now(UTC)
            session.screen.show(status_lines(hosts, look, now, session.titles, purposes))
            if any(h.behind for h in hosts):
                session.hint("lab plan" + "".join(f" {s}" for s in selectors))
    return ExitCode.PENDING if any(h.needs_attention for h in hosts) else ExitCode.OK


def show(settings: Settings, word: str) -> int:
    """``lab show HOST | RUN``."""
    with opened(settings) as session:
        run = run_in(session, word)
        if run is not None:
            return show_run(session, run)
        host = word.removeprefix("host=")
        values = session.lab.show(host)
        if settings.json:
            plain = [{"path": v.path, "value": _json(v.value), "where": v.where} for v in values]
            _document(session, "lab.show/1", {"host": host, "values": plain})
            return ExitCode.OK
        rows = [(v.path, _json(v.value), v.where) for v in values]
        session.screen.show(tables.shown_lines(rows, session.screen.look))
    return ExitCode.OK


def ssh(settings: Settings, host: str, command: tuple[str, ...]) -> NoReturn:
    """``lab ssh HOST``: this process becomes ssh."""
    with opened(settings) as session:
        words = [*session.lab.login(host), *command]
    try:
        os.execvp(words[0], words)  # noqa: S606 (without a shell is right)
    except OSError as error:
        raise DriverError(
            f"Unable to log in to {host}: ssh does not start: {error.strerror}.", hint="lab doctor"
        ) from error


def history(settings: Settings, limit: int) -> int:
    """``lab history``."""
    with opened(settings) as session:
        runs = session.lab.history(limit)
        if settings.json:
            _document(session, "lab.history/1", {"runs": [_plain(r) for r in runs]})
            return ExitCode.OK
        session.screen.show(tables.history_lines(runs, session.screen.look))
    return ExitCode.OK


def explain(settings: Settings, topic: str) -> int:
    """``lab explain TOPIC``."""
    with opened(settings) as session:
        text = session.lab.explain(topic)
        if settings.json:
            _document(session, "lab.topic/1", {"topic": topic, "text": text})
            return ExitCode.OK
        session.screen.show(line(part) for part in clean_lines(text))
    return ExitCode.OK


def doctor(settings: Settings, selectors: tuple[str, ...]) -> int:
    """``lab doctor``: exit 5 where something stands in the way."""
    with opened(settings) as session:
        findings = session.lab.doctor(*selectors)
        failed = any(f.level == "fail" for f in findings)
        if settings.json:
            _document(session, "lab.doctor/1", {"findings": [_plain(f) for f in findings]})
        else:
            session.screen.show(tables.doctor_lines(findings, session.screen.look))
    return ExitCode.REFUSED if failed else ExitCode.OK


def schema(settings: Settings, name: str | None, out: str | None) -> int:
    """``lab schema [NAME] [--out DIR]``."""
    with opened(settings) as session:
        schemas = session.lab.schema()
        if name is not None and name not in schemas:
            raise click.UsageError(
                f"there is no schema {name!r}{nearest(name, schemas)} Known: {', '.join(schemas)}"
            )
        chosen = schemas if name is None else {name: schemas[name]}
        if out is not None:
            for path in _write(Path(out), chosen):
                session.screen.show([line(str(path))])
            return ExitCode.OK
        write_json(session.screen, chosen if name is None else chosen[name], indent=2)
    return ExitCode.OK


def _write(folder: Path, schemas: dict[str, dict[str, Any]]) -> list[Path]:
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in schemas.items():
            path = folder / f"{name}.schema.json"
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise LabError(
            f"Unable to write schemas to {folder}: {error.strerror or error}."
        ) from error
    return written


def _document(session: Session, schema_name: str, body: dict[str, Any]) -> None:
    document = {"schema": schema_name, "lab": session.lab.name, **body}
    write_json(session.screen, document, indent=2)


_TIMES = ("at", "since", "good_at", "surveyed", "good", "verified", "due", "proved_at")


def _status(host: HostStatus) -> dict[str, Any]:
    """A host as JSON values; every time as UTC ISO-8601."""
    body: dict[str, Any] = _times(dataclasses.asdict(host))
    body["standing"] = host.standing.value
    body["behind"], body["unsafe"] = host.behind, host.unsafe
    body["needs_attention"] = host.needs_attention
    return body


def _times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: _iso(v) if k in _TIMES and isinstance(v, (int, float)) else _times(v)
            for k, v in value.items()
        }
    return [_times(v) for v in value] if isinstance(value, (list, tuple)) else value


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON values; times as UTC ISO-8601."""
    body: dict[str, Any] = dataclasses.asdict(value)
    for key in ("started", "ended", "at"):
        if isinstance(body.get(key), float):
            body[key] = _iso(body[key])
    return body


def _json(value: Any) -> Any:
    """A value of the merged YAML as JSON; what is no JSON (a secret) as its own text."""
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)

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

from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text import tables
from lab.cli.text.look import clean_lines, line, plural, show_seconds
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
    """``lab status``."""
    with opened(settings) as session:
        wanted = {h.name for h in session.lab.select(*selectors)} if selectors else None
        hosts = [s for s in session.lab.status() if wanted is None or s.host in wanted]
        if settings.json:
            _document(
                session,
                "lab.status/1",
                {"hosts": [{**_plain(h), "behind": h.behind} for h in hosts]},
            )
            return ExitCode.OK
        now = datetime.now(UTC)
        shown = tables.status_lines(hosts, session.screen.look, now, session.titles)
        session.screen.show(shown)
        _tell_stale(session, {h.host for h in hosts})
        if any(h.behind for h in hosts):
            session.hint("lab plan" + "".join(f" {s}" for s in selectors))
    return ExitCode.OK


def _tell_stale(session: Session, hosts: set[str]) -> None:
    """A line where captures of these hosts are too old; the journal knows."""
    lab = session.lab
    if lab.inventory.capture is None:
        return
    chosen = [h for h in lab.select() if h.name in hosts]
    stale = [f for f in lab.captures.freshness(chosen) if f.stale]
    if stale:
        told = f"{plural(len(stale), 'set')} of data without a fresh capture."
        session.screen.show([line((told, "red"))])
        session.hint("lab captures check")


def show(settings: Settings, host: str) -> int:
    """``lab show HOST``."""
    with opened(settings) as session:
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


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON values; times as UTC ISO-8601."""
    body: dict[str, Any] = dataclasses.asdict(value)
    for key in ("started", "ended", "at"):
        if isinstance(body.get(key), float):
            body[key] = datetime.fromtimestamp(body[key], UTC).isoformat(timespec="seconds")
    for layer in body.get("layers") or ():
        if isinstance(layer, dict) and layer.get("at") is not None:
            layer["at"] = datetime.fromtimestamp(layer["at"], UTC).isoformat(timespec="seconds")
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

"""What ``lab capture`` and ``lab captures …`` do: ask the library, show what came of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lab import events
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.captures import capture_lines, freshness_lines, listing_lines
from lab.cli.text.look import line, plural
from lab.model.host import Host
from lab.model.outcome import ExitCode
from lab.model.recovered import CaptureRecord

if TYPE_CHECKING:
    from lab.recovery.captures import CaptureReport


def capture(
    settings: Settings, words: tuple[str, ...], *, accept_small: bool, jobs: int | None
) -> int:
    """``lab capture``."""
    selectors, names = split(words)
    with opened(settings) as session:
        lab = session.lab
        report = session.watch(
            lambda listen: lab.capture(
                *selectors,
                names=names,
                accept_small=accept_small,
                on_event=events.ignore if settings.json else listen,
                jobs=jobs,
            )
        )
        return _told(session, report, "lab.capture/1")


def capture_disks(settings: Settings, selectors: tuple[str, ...], *, live: bool) -> int:
    """``lab capture --disk``."""
    with opened(settings) as session:
        lab = session.lab
        report = session.watch(
            lambda listen: lab.capture_disks(
                *selectors, live=live, on_event=events.ignore if settings.json else listen
            )
        )
        return _told(session, report, "lab.capture/1")


def list_(settings: Settings, words: tuple[str, ...]) -> int:
    """``lab captures list``."""
    selectors, names = split(words)
    with opened(settings) as session:
        lab = session.lab
        lab.captures.listing()
        hosts = {h.name for h in lab.select(*selectors)} if selectors else None
        records = [
            r
            for r in lab.captures.known()
            if (hosts is None or r.host in hosts) and (not names or r.data in names)
        ]
        if settings.json:
            _document(session, "lab.captures/1", {"captures": [plain(r) for r in records]})
            return ExitCode.OK
        session.screen.show(listing_lines(records, session.screen.look))
        if not records:
            session.hint("lab capture")
    return ExitCode.OK


def check(settings: Settings, words: tuple[str, ...]) -> int:
    """``lab captures check``."""
    selectors, names = split(words)
    with opened(settings) as session:
        lab = session.lab
        found = lab.captures.freshness(lab.select(*selectors))
        found = tuple(f for f in found if not names or f.data in names)
        stale = [f for f in found if f.stale]
        code = ExitCode.FAILED if stale else ExitCode.OK
        if settings.json:
            body = [
                {
                    "host": f.host,
                    "data": f.data,
                    "stale": f.stale,
                    "allowed": f.allowed,
                    "last": plain(f.last) if f.last else None,
                }
                for f in found
            ]
            _document(session, "lab.captures.check/1", {"exit_code": int(code), "sets": body})
            return code
        session.screen.show(freshness_lines(found, session.screen.look, time.time()))
        if stale:
            hosts = dict.fromkeys(f"host={f.host}" for f in stale)
            session.hint(f"lab capture {','.join(hosts)}")
    return code


def verify(settings: Settings, words: tuple[str, ...], *, subset: str) -> int:
    """``lab captures verify``."""
    selectors, names = split(words)
    with opened(settings) as session:
        lab = session.lab
        hosts: Sequence[Host] = lab.select(*selectors)
        report = session.watch(
            lambda listen: lab.captures.verify(
                hosts, names, subset=subset, listen=events.ignore if settings.json else listen
            )
        )
        return _told(session, report, "lab.captures.verify/1")


def forget(settings: Settings, words: tuple[str, ...]) -> int:
    """``lab captures forget``."""
    selectors, _ = split(words)
    with opened(settings) as session:
        gone = session.lab.captures.tidy(session.lab.select(*selectors))
        if settings.json:
            _document(session, "lab.captures.forget/1", {"dropped": [plain(r) for r in gone]})
            return ExitCode.OK
        session.screen.show([line(f"Dropped {plural(len(gone), 'capture')}, and made room.")])
    return ExitCode.OK


def split(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Selectors of hosts, and names of sets of data."""
    names = [w.removeprefix("data=") for w in words if w.startswith("data=")]
    every = tuple(n for name in names for n in name.split(",") if n)
    return tuple(w for w in words if not w.startswith("data=")), every


def _told(session: Session, report: CaptureReport, schema: str) -> int:
    code = report.exit_code
    if session.screen.settings.json:
        body = {
            "exit_code": int(code),
            "captures": [plain(r) for r in report.records],
            "failures": [
                {
                    "host": p.host,
                    "data": p.part,
                    "kind": p.failure.kind,
                    "message": p.failure.message,
                    "hint": p.failure.hint,
                }
                for p in report.run.parts
                if p.failure is not None
            ],
            "notes": [
                {"host": host, "data": data, "notes": list(notes)}
                for (host, data), notes in report.notes.items()
            ],
            "seconds": round(report.run.seconds, 3),
        }
        _document(session, schema, body)
        return code
    session.screen.show(capture_lines(report.run, report.notes, session.screen.look))
    return code


def plain(record: CaptureRecord) -> dict[str, Any]:
    """A record as JSON values; times as UTC ISO-8601."""
    body: dict[str, Any] = dataclasses.asdict(record)
    for key in ("at", "verified"):
        if body[key] is not None:
            body[key] = datetime.fromtimestamp(body[key], UTC).isoformat(timespec="seconds")
    return body


def _document(session: Session, schema: str, body: Mapping[str, Any]) -> None:
    write_json(session.screen, {"schema": schema, "lab": session.lab.name, **body}, indent=2)

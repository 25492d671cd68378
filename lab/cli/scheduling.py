"""``lab schedule …``: timers of systemd, from what the personas say under ``lifecycle:``."""

from __future__ import annotations

import os
import sys
import time
import zlib
from pathlib import Path

from lab.cli.autostarting import exec_word, systemctl, unit_folder
from lab.cli.gitsetup import environment_lines
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.captures import freshness_lines
from lab.cli.text.look import clean_lines, line
from lab.errors import LabError
from lab.model.outcome import ExitCode

_SERVICE = """\
# Written by `lab schedule install`.
[Unit]
Description=Strata: {about}
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
{environment}# What it holds still on a host goes on, whatever becomes of it here.
KillMode=mixed
TimeoutStartSec=24h
Nice=10
{commands}
"""
_TIMER = """\
# Written by `lab schedule install`.
[Unit]
Description=Strata: {about}

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={spread}
# A time that passed while this machine was off is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""
_HOUR, _DAY, _WEEK, _MONTH = 3600, 86400, 604800, 30 * 86400


def units(session: Session) -> dict[str, str]:
    """Every unit's name and text."""
    lab = session.lab
    made: dict[str, str] = {}
    start = f"strata-{lab.name}"
    for host in lab.select():
        every = host.lifecycle.capture
        if every is not None:
            about = f"capture {host.name} of the lab {lab.name}"
            name = f"{start}-capture-{host.name}"
            made |= _pair(session, name, about, every, (["capture", f"host={host.name}"],))
    if made:
        about = f"read captures of the lab {lab.name} back, and make room"
        commands = (["captures", "verify", "--subset", "5%"], ["captures", "forget"])
        made |= _pair(session, f"{start}-captures", about, _WEEK, commands)
    for host in lab.select():
        every = host.lifecycle.drill
        if every is not None:  # what is not proved ends its unit as failed
            about = f"prove that {host.name} of the lab {lab.name} comes back"
            name = f"{start}-drill-{host.name}"
            made |= _pair(session, name, about, max(every, _DAY), (["drill", f"host={host.name}"],))
    return made


def calendar(every: int, name: str) -> tuple[str, int]:
    """When, as systemd writes it, and by how many seconds that may be put off.

    Hosts are spread over the hour by their names, so that they do not all begin at once.
    """
    minute = zlib.crc32(name.encode()) % 60
    if every < _HOUR:
        step = max(1, every // 60)
        return f"*:0/{step}", 0
    if every < _DAY:
        return f"0/{max(1, every // _HOUR)}:{minute:02d}", 60
    if every < _WEEK:
        days = every // _DAY
        return (f"*-*-* 02:{minute:02d}" if days == 1 else f"*-*-1/{days} 02:{minute:02d}"), 300
    return (f"Sun 03:{minute:02d}" if every < _MONTH else f"*-*-01 03:{minute:02d}"), 300


def _pair(
    session: Session, name: str, about: str, every: int, commands: tuple[list[str], ...]
) -> dict[str, str]:
    python, root = exec_word(sys.executable), exec_word(str(session.lab.root))
    lines = [
        " ".join(
            [
                f"ExecStart={python} -P -m lab.cli",
                *map(exec_word, words),
                f"--color never --quiet --lab {root}",
            ]
        )
        for words in commands
    ]
    when, spread = calendar(every, name)
    return {
        f"{name}.service": _SERVICE.format(
            about=about, environment=environment_lines(), commands="\n".join(lines)
        ),
        f"{name}.timer": _TIMER.format(about=about, calendar=when, spread=spread),
    }


def show(settings: Settings) -> int:
    """``lab schedule show``."""
    with opened(settings) as session:
        made = units(session)
        for name, text in made.items():
            session.screen.show([line((f"# {name}", "bold"))])
            session.screen.show(line(part) for part in clean_lines(text))
        _say_if_none(session, made)
    return ExitCode.OK


def install(settings: Settings) -> int:
    """``lab schedule install``: as the personas say, and nothing else of ours."""
    system = os.geteuid() == 0
    with opened(settings) as session:
        folder, made = unit_folder(system=system), units(session)
        there = _there(folder, session.lab.name)
        changed = [n for n, text in made.items() if there.get(n) != text]
        gone = [n for n in there if n not in made]
        _stop([n for n in gone if n.endswith(".timer")], system=system)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in changed:
                (folder / name).write_text(made[name], encoding="utf-8")
            for name in gone:
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise LabError(f"Unable to write {folder}: {error.strerror or error}.") from error
        systemctl("daemon-reload", system=system)
        timers = [n for n in made if n.endswith(".timer")]
        if timers:
            systemctl("enable", "--now", *timers, system=system)
        words = [f"Wrote {folder / n}" for n in changed] + [f"Removed {folder / n}" for n in gone]
        session.screen.show(line(word) for word in words or ["All in order."])
        _say_if_none(session, made)
        if timers and not system:
            session.hint(f"loginctl enable-linger {os.environ.get('USER', '')}".rstrip())
    return ExitCode.OK


def status(settings: Settings) -> int:
    """``lab schedule status``."""
    with opened(settings) as session:
        folder, made = unit_folder(system=os.geteuid() == 0), units(session)
        there = _there(folder, session.lab.name)
        wrong = sorted(n for n in {*made, *there} if made.get(n) != there.get(n))
        found = session.lab.captures.freshness(session.lab.select())
        stale = [f for f in found if f.stale]
        late = [h.host for h in session.lab.status() if h.drill is not None and h.drill.overdue]
        code = ExitCode.FAILED if stale or late else ExitCode.PENDING if wrong else ExitCode.OK
        if settings.json:
            body = {
                "schema": "lab.schedule/1",
                "lab": session.lab.name,
                "exit_code": int(code),
                "timers": sorted(n for n in there if n.endswith(".timer")),
                "differ": wrong,
                "stale": [{"host": f.host, "data": f.data, "why": f.stale} for f in stale],
                "drills_overdue": late,
            }
            write_json(session.screen, body, indent=2)
            return code
        count = sum(n.endswith(".timer") for n in there)
        session.screen.show([line(f"{count} timers in {folder}")])
        session.screen.show(line((f"  {n} is not as the personas say", "yellow")) for n in wrong)
        session.screen.show(freshness_lines(found, session.screen.look, time.time()))
        session.screen.show(line((f"  {h}: its drill is overdue", "red")) for h in late)
        if late:
            session.hint(" ".join(["lab drill", *(f"host={h}" for h in late)]))
        if wrong:
            session.hint("lab schedule install")
    return code


def remove(settings: Settings) -> int:
    """``lab schedule remove``."""
    system = os.geteuid() == 0
    with opened(settings) as session:
        folder = unit_folder(system=system)
        there = _there(folder, session.lab.name)
        _stop([n for n in there if n.endswith(".timer")], system=system)
        for name in there:
            (folder / name).unlink(missing_ok=True)
        if there:
            systemctl("daemon-reload", system=system)
        words = [f"Removed {folder / n}" for n in there] or ["There are no timers."]
        session.screen.show(line(word) for word in words)
    return ExitCode.OK


def _there(folder: Path, lab: str) -> dict[str, str]:
    """The units of this lab's schedule that are installed."""
    found = [*folder.glob(f"strata-{lab}-capture-*"), *folder.glob(f"strata-{lab}-captures.*")]
    return {
        p.name: p.read_text(encoding="utf-8", errors="replace")
        for p in sorted(found)
        if p.suffix in {".service", ".timer"}
    }


def _stop(timers: list[str], *, system: bool) -> None:
    if timers:
        systemctl("disable", "--now", *timers, system=system)


def _say_if_none(session: Session, made: dict[str, str]) -> None:
    if not made:
        session.screen.say(line("No host has a capture interval (lifecycle: {capture: daily})."))

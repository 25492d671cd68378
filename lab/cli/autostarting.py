"""A systemd unit that starts the lab's machines at boot."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from lab import folders
from lab.cli.options import Settings
from lab.cli.session import Session, opened
from lab.cli.terminal import Screen
from lab.cli.text.look import clean_lines, line
from lab.errors import DriverError, LabError
from lab.model.outcome import ExitCode

_UNIT = """\
# Written by `lab autostart`. Takes the machines of the lab {lab} up again after a boot.
[Unit]
Description=Strata: start the machines of the lab {lab}
{after}
[Service]
Type=oneshot
RemainAfterExit=yes
# The machines run on after the command that started them.
KillMode=process
ExecStart={python} -m lab.cli converge l2 --yes --no-input --color never --lab {root}
TimeoutStartSec=30min

[Install]
WantedBy={target}
"""


def unit_text(lab: str, root: Path, python: str, *, system: bool) -> str:
    """The unit; ``system``: for the machine, else for one user."""
    after = "After=network-online.target\nWants=network-online.target\n" if system else ""
    return _UNIT.format(
        lab=lab,
        after=after,
        python=exec_word(python),
        root=exec_word(str(root)),
        target="multi-user.target" if system else "default.target",
    )


def autostart(settings: Settings, *, install: bool, remove: bool) -> int:
    """``lab autostart``: print the unit, or write and enable it, or take it away again."""
    with opened(settings) as session:
        system = os.geteuid() == 0
        text = unit_text(session.lab.name, session.lab.root, sys.executable, system=system)
        path = unit_folder(system=system) / f"strata-{session.lab.name}.service"
        if install:
            install_unit(session.screen, path, text, system=system)
        elif remove:
            _remove(session, path, system=system)
        else:
            session.screen.show(line(part) for part in clean_lines(text))
    return ExitCode.OK


def install_unit(screen: Screen, path: Path, text: str, *, system: bool) -> None:
    """Write a unit and have it started at boot. Raises LabError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"Unable to write {path}: {error.strerror or error}.") from error
    systemctl("daemon-reload", system=system)
    systemctl("enable", path.name, system=system)
    screen.show([line(f"Enabled {path}")])
    if not system and not screen.settings.quiet:
        linger = f"loginctl enable-linger {os.environ.get('USER', '')}".rstrip()
        screen.say(line(("Try: ", "cyan"), linger))


def _remove(session: Session, path: Path, *, system: bool) -> None:
    if not path.exists():
        session.screen.show([line(f"There is no {path}.")])
        return
    systemctl("disable", path.name, system=system)
    path.unlink(missing_ok=True)
    systemctl("daemon-reload", system=system)
    session.screen.show([line(f"Removed {path}")])


def systemctl(*words: str, system: bool) -> None:
    """Run systemctl, for the machine or for this user. Raises LabError."""
    command = ["systemctl", *([] if system else ["--user"]), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(
            "Unable to talk to systemd: is it running on this machine?",
            hint="have `lab converge l2 --yes` run at boot by other means",
        ) from error
    if done.returncode != 0:
        raise DriverError(
            f"Unable to {words[0]} the unit.",
            command=shlex.join(command),
            status=done.returncode,
            lines=done.stderr.splitlines()[-5:],
        )


def unit_folder(*, system: bool) -> Path:
    """Where units are written."""
    if system:
        return Path("/etc/systemd/system")
    return folders.config() / "systemd" / "user"


def exec_word(text: str) -> str:
    """One word of an ExecStart line: systemd's quoting, with its specifiers and variables off."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in escaped for c in " \t'\"\\") else escaped

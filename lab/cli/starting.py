"""What ``lab init`` and ``lab import`` do."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.cli.options import Settings
from lab.cli.session import opened
from lab.cli.terminal import Screen
from lab.cli.text.look import clean_lines, line, plural, prose
from lab.errors import LabError
from lab.model.outcome import ExitCode
from lab.starter import ansible, imported, newlab, terraform


def init(settings: Settings, folder: str, name: str | None) -> int:
    """``lab init``."""
    screen = Screen(settings)
    root = Path(folder).resolve()
    files = newlab.begin(root, newlab.name_for(root, name))
    made = newlab.under_git(root)
    screen.show([line(f"Wrote {file}") for file in files if not file.startswith(".schemas/")])
    if not settings.quiet:
        if not made:
            hook = f"git -C {root} config core.hooksPath .githooks"
            screen.say(line(("Try: ", "cyan"), f"{hook}   (checks each commit)"))
        screen.say(line(("Try: ", "cyan"), f"cd {folder}; lab validate; lab plan"))
    return ExitCode.OK


def import_(
    settings: Settings, tool: str, source: str, provider: str | None, *, dry_run: bool
) -> int:
    """``lab import``."""
    with opened(settings) as session:
        chosen = imported.provider_of(session.lab, provider)
        found, told = _read(tool, source)
        origin = f"{tool.capitalize()} ({Path(source).name})"
        result = imported.lab_files(found, told, session.lab, chosen, origin)
        screen = session.screen
        for note in result.told:
            screen.say(*prose(note, screen.err_look, 2, "yellow", first="!"))
        if dry_run:
            for name, text in result.files.items():
                screen.show([line((f"# {name}", "bold")), *map(line, clean_lines(text)), line()])
            return ExitCode.OK
        imported.write(session.lab, result)
        screen.show(line(f"Wrote {name}") for name in result.files)
        screen.show([line(f"{plural(result.hosts, 'host')} imported.")])
        session.hint("lab validate, then look at the files: they are yours")
    return ExitCode.OK


def _read(tool: str, source: str) -> tuple[list[imported.Found], list[str]]:
    if tool == "ansible":
        return ansible.read(Path(source))
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LabError(f"Unable to read {source}: {error}.") from error
    return terraform.read(text)

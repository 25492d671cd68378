"""What ``lab bootstrap`` and ``lab seed`` do."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.api.bootstrapping import bootstrap as bring
from lab.api.bootstrapping import seeds
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import opened
from lab.cli.terminal import Screen
from lab.cli.text.look import line, plural, prose
from lab.model.outcome import ExitCode


def bootstrap(settings: Settings, source: str, key: str, captures: str, into: str | None) -> int:
    """``lab bootstrap``."""
    name = source.rstrip("/").rpartition("/")[2].removesuffix(".git") or "lab"
    made = bring(source, Path(key), captures, Path(into or name).absolute())
    screen = Screen(settings)
    if settings.json:
        body = {"lab": made.name, "root": str(made.root), "captures": made.captures}
        write_json(screen, {"schema": "lab.bootstrap/1", **body}, indent=2)
        return ExitCode.OK
    lines = [line(f"The lab {made.name} is in {made.root}, with its journal and keys.")]
    lines += [line(f"Its repository holds {plural(made.captures, 'capture')}.")]
    if made.elsewhere:
        told = f"lab.yaml says {made.elsewhere}: make capture.repository.url what you gave here"
        lines += prose(told, screen.look, 2, "yellow", first="!")
    screen.show(lines)
    screen.say(line(("Try: ", "cyan"), f"cd {shlex.quote(str(made.root))} && lab status"))
    return ExitCode.OK


def seed(settings: Settings) -> int:
    """``lab seed``."""
    with opened(settings) as session:
        found = seeds(session.lab)
        if settings.json:
            body = [{"what": s.what, "where": s.where, "why": s.why} for s in found]
            write_json(
                session.screen,
                {"schema": "lab.seed/1", "lab": session.lab.name, "seeds": body},
                indent=2,
            )
            return ExitCode.OK
        lines = [line((f"What must survive this machine, for the lab {session.lab.name}:", "bold"))]
        for one in found:
            lines += [line(), line((one.what, "bold"))]
            lines += prose(one.where, session.screen.look, 2)
            lines += prose(one.why, session.screen.look, 2, "dim")
        lines += [line(), line("On a new machine:")]
        lines += [line("  lab bootstrap --from REPO --key KEY --captures URL")]
        session.screen.show(lines)
    return ExitCode.OK

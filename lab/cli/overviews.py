"""What ``lab metrics`` and ``lab graph`` do: ask the library, print or write a file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from lab.api.drawing import drawable, mermaid, svg
from lab.api.graph import Graph
from lab.api.metrics import metrics_text
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.session import Session, opened
from lab.cli.text.graphs import graph_lines
from lab.cli.text.look import line
from lab.errors import LabError
from lab.masking import mask
from lab.model.outcome import ExitCode

ENDINGS = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".md": "markdown"}
READABLE = 0o644  # by whoever collects it: node_exporter is another user


def metrics(settings: Settings, selectors: tuple[str, ...], out: str | None) -> int:
    """``lab metrics [--out FILE]``."""
    with opened(settings) as session:
        wanted = {h.name for h in session.lab.select(*selectors)} if selectors else None
        hosts = [s for s in session.lab.status() if wanted is None or s.host in wanted]
        _put(session, metrics_text(session.lab.name, version("strata-lab"), hosts), out)
    return ExitCode.OK


def graph(settings: Settings, selectors: tuple[str, ...], kind: str | None, out: str | None) -> int:
    """``lab graph [--format KIND] [--out FILE]``."""
    if out is not None and kind is None:
        kind = ENDINGS.get(Path(out).suffix.lower())
        if kind is None:
            raise click.UsageError(f"what {out} is to hold does not show: give --format.")
    with opened(settings) as session:
        drawn = session.lab.graph(*selectors)
        if settings.json:
            write_json(session.screen, _document(drawn), indent=2)
        elif kind in {None, "text"} and out is None:
            session.screen.show(graph_lines(drawn, session.screen.look))
        else:
            _put(session, _drawing(drawn, kind, session), out)
    return ExitCode.OK


def _drawing(drawn: Graph, kind: str | None, session: Session) -> str:
    if kind == "svg":
        return svg(drawn)
    if kind in {"mermaid", "markdown"}:
        text = mermaid(drawn)
        if not drawable(text):
            told = "! more than Mermaid draws by its defaults: select fewer hosts, or draw an SVG"
            session.screen.say(line((told, "yellow")))
        return text if kind == "mermaid" else f"```mermaid\n{text}```\n"
    return "".join(f"{t.plain}\n" for t in graph_lines(drawn, session.screen.look))


def _document(drawn: Graph) -> dict[str, Any]:
    hosts = [
        {
            "host": m.host,
            "persona": m.persona,
            "provider": m.provider,
            "rank": m.rank,
            "after": list(m.after),
            "protect": m.protect,
            "where": m.where,
            "things": [
                {"kind": t.kind, "name": t.name, "of": t.of, "detail": t.detail, "where": t.where}
                for t in m.things
            ],
        }
        for m in drawn.hosts
    ]
    said = {"personas": dict(drawn.personas), "providers": dict(drawn.providers)}
    return {"schema": "lab.graph/1", "lab": drawn.lab, **said, "hosts": hosts}


def _put(session: Session, text: str, out: str | None) -> None:
    text = mask(text)
    if out is None:
        click.echo(text, nl=False)
        return
    _write(Path(out), text)
    if not session.screen.settings.quiet:
        click.echo(f"Written: {out}", err=True)


def _write(path: Path, text: str) -> None:
    """The whole file or none of it: whoever reads it meanwhile finds the one before."""
    made: str | None = None
    try:
        number, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), READABLE)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except OSError as error:
        if made is not None:
            with suppress(OSError):
                Path(made).unlink()
        why = error.strerror or error
        raise LabError(f"Unable to write {path}: {why}.", hint=f"mkdir -p {path.parent}") from error

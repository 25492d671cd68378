"""``lab metrics | graph``: the lab for machines that watch it, and for people who draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, as_json, common, selected, selectors_of

if TYPE_CHECKING:
    from lab.cli import overviews
else:
    overviews = Lazy("lab.cli.overviews")

FORMATS = ("text", "mermaid", "svg")


@click.command(cls=Documented)
@selected
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False),
    help="Write this file, whole or not at all.",
)  # fmt: skip
@common
@click.pass_obj
def metrics(settings: Settings, words: tuple[str, ...], out: str | None) -> int:
    """Print how every host stands, for Prometheus.

    From the journal of this machine alone, like lab status. With --out into the folder of
    node_exporter's textfile collector, from a timer; docs/operate.md has rules for alerts.

    Examples:
      lab metrics
      lab metrics --out=/var/lib/prometheus/node-exporter/strata.prom
    """
    return overviews.metrics(settings, selectors_of(words), out)


@click.command(cls=Documented)
@selected
@click.option(
    "--format", "kind", type=click.Choice(FORMATS),
    help="What to draw (default: what FILE's ending says, else text).",
)  # fmt: skip
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False),
    help="Write this file (.svg, .mmd, .md) instead of stdout.",
)  # fmt: skip
@as_json
@common
@click.pass_obj
def graph(settings: Settings, words: tuple[str, ...], kind: str | None, out: str | None) -> int:
    """Draw the lab: hosts, what they are for, run and keep.

    Providers, hosts in the order of after:, personas, workloads and the data that lasts. The SVG
    needs nothing from elsewhere and tells in tooltips where each thing is declared; Mermaid is
    shown drawn in Markdown by Gitea, Forgejo, GitHub and GitLab.

    Examples:
      lab graph
      lab graph --out=lab.svg
      lab graph persona=web --format mermaid
    """
    return overviews.graph(settings, selectors_of(words), kind, out)

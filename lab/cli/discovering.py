"""``lab entropy | adopt``: machines as they are, against the files and into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, as_json, common, selected, selectors_of

if TYPE_CHECKING:
    from lab.cli import discovery
else:
    discovery = Lazy("lab.cli.discovery")


@click.command(cls=Documented)
@selected
@click.option("--all", "everything", is_flag=True, help="What is accepted as well, and why.")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="At most N hosts at a time."
)
@as_json
@common
@click.pass_obj
def entropy(
    settings: Settings, words: tuple[str, ...], *, everything: bool, jobs: int | None
) -> int:
    """Tell what is on hosts and in no file here.

    Packages, users, keys, changed files, units, ports, containers, data: whatever would be missing
    after a rebuild. Reads only, about a second a host. Every sort has a weight: 5 data that is in
    no capture, 3 what lets somebody in or up, 2 what runs, 1 the rest; their sum is the host's
    entropy, 0 is nothing. What may stay as it is goes into accepted.yaml, each with its reason.
    Exit code 0: nothing is undeclared, 2: something is.

    Examples:
      lab entropy                     every host
      lab entropy host=nas1 --all     one, with what is accepted
      lab entropy --json | jq '.hosts[].entropy'
    """
    return discovery.entropy(settings, selectors_of(words), jobs, everything=everything)

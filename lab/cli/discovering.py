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


@click.command(cls=Documented)
@click.argument("words", nargs=-1, required=True, metavar="host=NAME address=[USER@]ADDRESS[:PORT]")
@click.option("--persona", metavar="NAME", help="The new persona's name (default: the host's).")
@click.option("--provider", metavar="NAME", help="A provider of kind existing (default: made).")
@click.option(
    "--host-key",
    metavar="KEY",
    help="The machine's public host key (default: known_hosts decides).",
)
@click.option("--identity-file", metavar="FILE", help="The private key to log in with.")
@click.option(
    "--sudo-password", metavar="SECRET", help="The secret of this lab that sudo there asks for."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; write nothing.")
@as_json
@common
@click.pass_obj
def adopt(
    settings: Settings,
    words: tuple[str, ...],
    *,
    persona: str | None,
    provider: str | None,
    host_key: str | None,
    identity_file: str | None,
    sudo_password: str | None,
    dry_run: bool,
) -> int:
    """Write a machine that is there down as files.

    Logs in, looks at everything that was done to it by hand, and writes a persona with its files,
    a host in the inventory and, where there is none, a provider of kind existing. Nothing on the
    machine is changed, no file here is overwritten, and all of them come at once or none. What
    looks like a secret is never copied. Ends with the plan of the new host, which should be empty.
    Its host key must be known: to ssh, or by --host-key. Exit code 0: the plan is empty, 2: it is
    not.

    Examples:
      lab adopt host=nas1 address=root@192.0.2.9
      lab adopt host=nas1 address=me@nas.lan:2222 --persona nas --dry-run
      lab adopt host=box address=local
    """
    asked = discovery.Asked(persona, provider, host_key, identity_file, sudo_password, dry_run)
    return discovery.adopt(settings, words, asked)

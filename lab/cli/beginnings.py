"""``lab init | import | bootstrap | seed``: the words of beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, as_json, common

if TYPE_CHECKING:
    from lab.cli import newmachine, starting
else:
    newmachine = Lazy("lab.cli.newmachine")
    starting = Lazy("lab.cli.starting")


@click.command(cls=Documented)
@click.argument("folder", type=click.Path(file_okay=False), metavar="DIR")
@click.option("--name", metavar="NAME", help="The lab's name (default: the folder's).")
@common
@click.pass_obj
def init(settings: Settings, folder: str, name: str | None) -> int:
    """Begin a new lab in a folder.

    An example persona and host, headers that let editors complete and check, a justfile, a hook
    that checks each commit, and a workflow that plans pull requests. Only new files are written.

    Examples:
      lab init my-lab
      lab init . --name home
    """
    return starting.init(settings, folder, name)


@click.command("import", cls=Documented)
@click.argument("tool", type=click.Choice(["ansible", "terraform"]))
@click.argument("source", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE")
@click.option("--provider", metavar="NAME", help="Whose hosts they become (default: the only one).")
@click.option("--dry-run", is_flag=True, help="Print what would be written.")
@common
@click.pass_obj
def import_(
    settings: Settings, tool: str, source: str, *, provider: str | None, dry_run: bool
) -> int:
    """Take hosts over from Ansible or Terraform.

    An inventory (INI or YAML, with group_vars and host_vars) or the output of terraform show -json
    becomes a new file in inventory/. What is not known is told, never made up; no file that is
    there is touched, and the lab is valid afterwards.

    Examples:
      lab import ansible ~/ansible/hosts.ini --provider house
      lab import terraform state.json --dry-run
      lab import terraform -
    """
    return starting.import_(settings, tool, source, provider, dry_run=dry_run)


@click.command(cls=Documented)
@click.option("--from", "source", required=True, metavar="REPO", help="The lab's git repository.")
@click.option("--key", required=True, metavar="FILE", help="An age key that opens its secrets.",
              type=click.Path(exists=True, dir_okay=False))  # fmt: skip
@click.option("--captures", default="", metavar="URL",
              help="The capture repository, where it is not what lab.yaml says.")  # fmt: skip
@click.option("--into", metavar="DIR", help="Where the checkout goes (default: named as REPO).")
@as_json
@common
@click.pass_obj
def bootstrap(settings: Settings, source: str, key: str, captures: str, into: str | None) -> int:
    """Get a lab back on a new machine.

    Out of git, a key and the capture repository alone: the checkout, and out of the lab's own
    newest capture its journal, ledger and SSH keys. Nothing that is there already is overwritten.
    Then lab rebuild brings back the machines that are gone.

    Examples:
      lab bootstrap --from git@forge.lan:me/home.git --key key.txt --captures sftp:nas.lan:/captures
    """
    return newmachine.bootstrap(settings, source, key, captures, into)


@click.command(cls=Documented)
@as_json
@common
@click.pass_obj
def seed(settings: Settings) -> int:
    """Tell what must survive the loss of this machine.

    The list to keep off-site: where the repository, the key and the captures are. No secret is in
    it. With these three, lab bootstrap gets the lab back.

    Examples:
      lab seed
    """
    return newmachine.seed(settings)

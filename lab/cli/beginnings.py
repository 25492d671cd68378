"""``lab init | import``: the words of beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, common

if TYPE_CHECKING:
    from lab.cli import starting
else:
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

"""``lab completion | autostart``: what is set up once on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, common

if TYPE_CHECKING:
    from lab.cli import autostarting, shells
else:
    autostarting = Lazy("lab.cli.autostarting")
    shells = Lazy("lab.cli.shells")


@click.command(cls=Documented)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    Completes commands, flags, layers, and the hosts, personas, tags and providers of the lab.

    Examples:
      lab completion bash > ~/.local/share/bash-completion/completions/lab
      lab completion zsh  > ~/.zfunc/_lab          (with ~/.zfunc in fpath)
      lab completion fish > ~/.config/fish/completions/lab.fish
    """
    click.echo(shells.script(shell), nl=False)
    return 0


@click.command(cls=Documented)
@click.option("--install", is_flag=True, help="Write the unit and enable it, instead of printing.")
@click.option("--remove", is_flag=True, help="Disable the unit and delete it.")
@common
@click.pass_obj
def autostart(settings: Settings, *, install: bool, remove: bool) -> int:
    """Start the lab's machines when this machine boots.

    Prints a systemd unit that runs `lab converge l2 --yes --no-input` at boot: for root a system
    unit, else one of the user (which needs lingering: loginctl enable-linger).

    Examples:
      lab autostart                 look at it
      lab autostart --install
      lab autostart --remove
    """
    if install and remove:
        raise click.UsageError("--install and --remove contradict each other.")
    return autostarting.autostart(settings, install=install, remove=remove)

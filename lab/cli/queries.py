"""``lab status | show | history | explain``: questions that touch nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import HostName, Settings, as_json, common, selected, selectors_of

if TYPE_CHECKING:
    from lab.cli import lookups
else:
    lookups = Lazy("lab.cli.lookups")


@click.command(cls=Documented)
@selected
@as_json
@common
@click.pass_obj
def status(settings: Settings, words: tuple[str, ...]) -> int:
    """Show how every host stood at its last run.

    From the journal of this machine alone: no host is asked. To look at the hosts themselves, use
    lab verify. What needs you stands first, with the reason: failed, drifted, behind, a capture
    or a drill that is overdue, a capture that is flagged.

    Exit code 0: nothing needs you, 2: something does.

    Examples:
      lab status
      lab status persona=web
      lab status --json
    """
    return lookups.status(settings, selectors_of(words))


@click.command(cls=Documented)
@click.argument("host", type=HostName())
@as_json
@common
@click.pass_obj
def show(settings: Settings, host: str) -> int:
    """Show a host's values and where each one comes from.

    The host's own entry beats its persona, a persona beats what it extends; every value stands
    beside the file:line:column that it was taken from.

    Examples:
      lab show web1
      lab show web1 | grep memory
      lab show web1 --json
    """
    return lookups.show(settings, host)


@click.command(cls=Documented, context_settings={"ignore_unknown_options": True})
@click.argument("host", type=HostName())
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@common
@click.pass_obj
def ssh(settings: Settings, host: str, command: tuple[str, ...]) -> None:
    """Log in to a host, its key already known.

    The system's ssh, with the lab's key and the host key that the lab made: nothing is trusted on
    first use. Exit code: that of ssh.

    Examples:
      lab ssh web1
      lab ssh web1 -- sudo journalctl -f
    """
    lookups.ssh(settings, host, command)


@click.command(cls=Documented)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, metavar="N",
    help="At most N runs.",
)  # fmt: skip
@as_json
@common
@click.pass_obj
def history(settings: Settings, limit: int) -> int:
    """List the last runs: who, when, what came of it.

    Examples:
      lab history
      lab history -n 3 --json
    """
    return lookups.history(settings, limit)


@click.command(cls=Documented)
@click.argument("topic")
@common
@click.pass_obj
def explain(settings: Settings, topic: str) -> int:
    """Explain a layer, a driver, a key or an exit code.

    Examples:
      lab explain l2                the machine layer
      lab explain machine.disks     a key of a persona
      lab explain exit-codes        all of them
      lab explain Stale             an error
    """
    return lookups.explain(settings, topic)

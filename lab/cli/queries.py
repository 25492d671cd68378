"""``lab status | show | diff | history | explain``: questions that touch nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import (
    HostName,
    HostOrRun,
    RunName,
    Settings,
    Topic,
    ValuePath,
    as_json,
    common,
    selected,
    selectors_of,
)

if TYPE_CHECKING:
    from lab.cli import lookups, pasts
else:
    pasts = Lazy("lab.cli.pasts")
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
@click.argument("name", type=HostOrRun(), metavar="HOST|RUN")
@as_json
@common
@click.pass_obj
def show(settings: Settings, name: str) -> int:
    """Show a host's values and where each comes from, or a past run.

    Of a host: its own entry beats its persona, a persona beats what it extends; every value stands
    beside the file:line:column that it was taken from. Of a run (as lab history prints it, the
    beginning of its id, last, last~1): who, when, what for, each change and how it ended. Where a
    name is both, the host is meant; run=NAME means the run.

    Examples:
      lab show web1
      lab show web1 | grep memory
      lab show last
      lab show 3f9a1c --json
    """
    return lookups.show(settings, name)


@click.command(cls=Documented)
@click.argument("first", type=RunName(), metavar="RUN")
@click.argument("second", type=RunName(), metavar="[RUN]", required=False)
@as_json
@common
@click.pass_obj
def diff(settings: Settings, first: str, second: str | None) -> int:
    """Compare two runs: hosts, outcomes, changes, times, commits.

    Of one RUN: with the run of the same verb and hosts before it. Exit code 0: they did the same
    (times do not count), 2: they differ.

    Examples:
      lab diff last                 the last run and the one before it
      lab diff 3f9a1c 77b02e
      lab diff last~5 last --json
    """
    return pasts.diff(settings, first, second)


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
@click.argument("topic", type=Topic())
@click.argument("path", type=ValuePath(), required=False)
@as_json
@common
@click.pass_obj
def explain(settings: Settings, topic: str, path: str | None) -> int:
    """Explain a layer, a key, an exit code, or a host's value.

    With host=NAME and a path (as lab show prints it): the value, the line that says so and what it
    beats, who last wrote that line, and the last change on the host that touched it.

    Examples:
      lab explain l2                the machine layer
      lab explain machine.disks     a key of a persona
      lab explain exit-codes        all of them
      lab explain Stale             an error
      lab explain host=web1 machine.memory
    """
    if topic.startswith("host="):
        if path is None:
            raise click.UsageError(f"say which value: lab explain {topic} PATH")
        return pasts.explain_value(settings, topic.removeprefix("host="), path)
    if path is not None:
        raise click.UsageError(f"a path needs its host before it: lab explain host=NAME {path}")
    return lookups.explain(settings, topic)

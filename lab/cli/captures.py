"""``lab capture | captures | schedule``: the words of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lab.cli.lazy import Documented, Family, Lazy
from lab.cli.options import Selector, Settings, as_json, common

if TYPE_CHECKING:
    from lab.cli import capturing, scheduling
else:
    capturing = Lazy("lab.cli.capturing")
    scheduling = Lazy("lab.cli.scheduling")

TABLE = {
    "list": ("lab.cli.captures:list_", "List the captures that the repository holds."),
    "check": ("lab.cli.captures:check", "Tell which captures are too old, flagged or missing."),
    "verify": ("lab.cli.captures:verify", "Read captures back whole, and compare every file."),
    "forget": ("lab.cli.captures:forget", "Drop what need not be kept, and make room."),
}
SCHEDULE = {
    "show": ("lab.cli.captures:schedule_show", "Print the timers that would be installed."),
    "install": ("lab.cli.captures:schedule_install", "Write and start the timers."),
    "status": ("lab.cli.captures:schedule_status", "Tell how the timers stand."),
    "remove": ("lab.cli.captures:schedule_remove", "Stop the timers and delete them."),
}


class DataWord(Selector):
    """A selector of hosts, or ``data=NAME``: a set of data."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is, once its form is right."""
        word = str(value)
        if word.startswith("data=") and word != "data=":
            return word
        found = super().convert(value, param, ctx)
        if "=" not in found:
            self.fail(f"this takes whole hosts, not the layer {found}", param, ctx)
        return found


words_ = click.argument("words", nargs=-1, type=DataWord(), metavar="[SELECTOR|data=NAME]...")


@click.command(cls=Documented)
@words_
@click.option("--accept-small", is_flag=True,
              help="An empty or suddenly small source is right: do not flag it.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="At most N hosts at a time.")
@click.option("--disk", is_flag=True,
              help="The boot disk as an image; the machine stands still for it.")  # fmt: skip
@click.option("--live", is_flag=True,
              help="With --disk: let it run; the copy is as after a power cut.")  # fmt: skip
@as_json
@common
@click.pass_obj
def capture(
    settings: Settings,
    words: tuple[str, ...],
    *,
    accept_small: bool,
    jobs: int | None,
    disk: bool,
    live: bool,
) -> int:
    """Capture what must not be lost.

    What workloads and personas declare as data, and what makes each machine itself, go into the
    repository that lab.yaml names; then the lab's own journal. Content is read over the session
    with the host: nothing but tar is needed there. A capture that is empty or suddenly tiny is
    flagged: exit code 1.

    With --disk it is the boot disk, as one image: host by host each machine is shut down in order,
    its disk copied, and the machine started again, whatever happens. On Proxmox the image stays
    on the node's storage for backups. lab image promote makes a template of it.

    Examples:
      lab capture
      lab capture host=media1 data=photos
      lab capture persona=db --json
      lab capture host=web1 --disk
    """
    if disk:
        hosts = tuple(w for w in words if not w.startswith("data="))
        if hosts != words or accept_small or jobs is not None:
            raise click.UsageError("--disk goes with hosts, one at a time, and with --live only.")
        if not hosts:
            raise click.UsageError("say whose boot disk: host=NAME, persona=NAME …")
        return capturing.capture_disks(settings, hosts, live=live)
    if live:
        raise click.UsageError("--live goes with --disk.")
    return capturing.capture(settings, words, accept_small=accept_small, jobs=jobs)


@click.group(cls=Family, table=TABLE, no_args_is_help=True)
@common
def captures() -> None:
    """List, check, verify and drop captures.

    Examples:
      lab captures list host=media1
      lab captures check
      lab captures verify --subset 5%
      lab captures forget
    """


@click.command("list", cls=Documented)
@words_
@as_json
@common
@click.pass_obj
def list_(settings: Settings, words: tuple[str, ...]) -> int:
    """List the captures that the repository holds.

    The newest first; a flagged one is nothing to rely on.

    Examples:
      lab captures list
      lab captures list host=media1 data=photos --json
    """
    return capturing.list_(settings, words)


@click.command(cls=Documented)
@words_
@as_json
@common
@click.pass_obj
def check(settings: Settings, words: tuple[str, ...]) -> int:
    """Tell which captures are too old, flagged or missing.

    From this machine's journal alone, so it is quick and needs no key. Exit code 1 where one is.
    Too old is older than the persona's rpo, or than twice its capture interval.

    Examples:
      lab captures check
      lab captures check persona=db || notify-me
    """
    return capturing.check(settings, words)


@click.command(cls=Documented)
@words_
@click.option("--subset", metavar="N%|N/M", default="",
              help="Also check the repository itself, and that much of its content.")  # fmt: skip
@as_json
@common
@click.pass_obj
def verify(settings: Settings, words: tuple[str, ...], *, subset: str) -> int:
    """Read captures back whole, and compare every file.

    The newest good capture of every set is read from the repository, and each file compared with
    what was captured. What is damaged is named: exit code 1.

    Examples:
      lab captures verify
      lab captures verify host=media1 --subset 10%
    """
    return capturing.verify(settings, words, subset=subset)


@click.command(cls=Documented)
@words_
@as_json
@common
@click.pass_obj
def forget(settings: Settings, words: tuple[str, ...]) -> int:
    """Drop what need not be kept, and make room.

    Keeps what lifecycle.keep of the persona says, and always the newest good capture of every set.
    Also drops what a killed capture left behind, a day later.

    Examples:
      lab captures forget
      lab captures forget persona=web
    """
    return capturing.forget(settings, words)


@click.group(cls=Family, table=SCHEDULE, no_args_is_help=True)
@common
def schedule() -> None:
    """Capture, verify and drill by systemd timers, as the personas say.

    Of every host whose lifecycle has a capture interval one timer, one whose has a drill interval;
    one more reads captures back and makes room, once a week. A drill that proves nothing ends its
    unit as failed.

    Examples:
      lab schedule show
      lab schedule install
      lab schedule status
    """


@click.command("show", cls=Documented)
@common
@click.pass_obj
def schedule_show(settings: Settings) -> int:
    """Print the timers that would be installed.

    Examples:
      lab schedule show
    """
    return scheduling.show(settings)


@click.command("install", cls=Documented)
@common
@click.pass_obj
def schedule_install(settings: Settings) -> int:
    """Write and start the timers.

    For root of the machine, else of the user (which needs lingering: loginctl enable-linger).
    Timers of hosts that no longer want captures are removed. Again: nothing changes.

    Examples:
      lab schedule install
    """
    return scheduling.install(settings)


@click.command("status", cls=Documented)
@as_json
@common
@click.pass_obj
def schedule_status(settings: Settings) -> int:
    """Tell how the timers stand.

    Exit code 2 where they are not as the personas say, 1 where a capture is too old.

    Examples:
      lab schedule status
    """
    return scheduling.status(settings)


@click.command("remove", cls=Documented)
@common
@click.pass_obj
def schedule_remove(settings: Settings) -> int:
    """Stop the timers and delete them.

    Examples:
      lab schedule remove
    """
    return scheduling.remove(settings)

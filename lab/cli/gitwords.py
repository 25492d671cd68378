"""``lab gitops … | approve | try``: the words of following git."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Commands, Documented, Lazy
from lab.cli.options import Settings, as_json, common
from lab.cli.runs import asking

if TYPE_CHECKING:
    from lab.cli import following, gitsetup, trying, waiting
else:
    following = Lazy("lab.cli.following")
    gitsetup = Lazy("lab.cli.gitsetup")
    trying = Lazy("lab.cli.trying")
    waiting = Lazy("lab.cli.waiting")

TABLE = {
    "install": ("lab.cli.gitwords:install", "Make a repository's hooks, or poll one."),
    "status": ("lab.cli.gitwords:status", "List the newest commits and what came of each."),
    "run": ("lab.cli.gitwords:run", "Deal with the newest commit now; resumes what was cut off."),
    "serve": ("lab.cli.gitwords:serve", "Poll the remote and listen for webhooks."),
    "hook": ("lab.cli.gitwords:hook", "What the repository's hooks call."),
    "expire": ("lab.cli.gitwords:expire", "What lab try starts: take a host back in time."),
    "work": ("lab.cli.gitwords:work", "What a hook starts: deal with what is queued."),
}


def named(function: click.decorators.FC) -> click.decorators.FC:
    """``--name``: the lab, where no checkout of it is at hand."""
    option = click.option(
        "--name", metavar="LAB", help="The lab's name (default: that of the lab in this folder)."
    )
    return option(function)


@click.group(cls=Commands, table=TABLE)
def gitops() -> None:
    """Follow git: a push converges what it touches.

    Which hosts a commit touches is found from what it declares for them, not from file names.
    Nothing that would be lost is lost without lab approve.

    Examples:
      lab gitops install --repository /srv/git/lab.git
      lab gitops install --poll https://git.lan/me/lab.git --mode ask
      lab gitops status
      lab gitops run
    """


gitops.examples_apart()


@click.command(cls=Documented)
@click.option(
    "--repository",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="A bare repository on this machine; made where it is not there.",
)
@click.option("--poll", metavar="URL", help="Any remote that git can fetch from.")
@click.option("--branch", metavar="NAME", help="The branch to follow (default: main).")
@click.option(
    "--mode",
    type=click.Choice(["plan", "ask", "apply"]),
    help="Only plan, wait for lab approve, or apply (the default).",
)
@click.option(
    "--signers",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Accept only commits signed by an SSH key in this allowed_signers file.",
)
@click.option(
    "--notify",
    multiple=True,
    metavar="URL",
    help="ntfys://HOST/TOPIC, or where any Apprise URL is kept: secret:NAME; repeatable.",
)
@click.option(
    "--forge",
    type=click.Choice(["forgejo", "gitea", "github", "gitlab"]),
    help="Post the status of each commit there.",
)
@click.option("--forge-url", metavar="URL", help="Its address (GitHub: https://api.github.com).")
@click.option("--forge-repository", metavar="OWNER/NAME", help="The repository's name there.")
@click.option(
    "--forge-token", metavar="PLACE", help="Its token: secret:NAME, env:NAME or file:PATH."
)
@click.option("--every", metavar="TIME", help="With --poll: how often (default: 1m).")
@click.option("--webhook", metavar="ADDRESS:PORT", help="With --poll: listen for webhooks.")
@click.option(
    "--webhook-secret", metavar="PLACE", help="Their secret: secret:NAME, env:NAME or file:PATH."
)
@click.option("--push-color", "colored", is_flag=True, help="Colours in what a push shows.")
@common
@click.pass_obj
def install(settings: Settings, /, **answers: object) -> int:
    """Make a repository's hooks, or poll one.

    With --repository the bare repository gets two hooks: a push with a mistake in it is refused,
    any other is planned and converged, and the pusher sees both. With --poll a systemd service
    looks for new commits. Running it again changes the settings.

    Examples:
      lab gitops install --repository /srv/git/lab.git
      lab gitops install --repository /srv/git/lab.git --mode ask --signers ~/signers
      lab gitops install --poll https://git.lan/me/lab.git --every 30s
      lab gitops install --webhook 127.0.0.1:2750 --webhook-secret secret:webhook
      lab gitops install --repository /srv/git/lab.git --notify ntfys://ntfy.sh/my-lab
    """
    return gitsetup.install(settings, answers)


@click.command(cls=Documented)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="At most N commits.",
)
@named
@as_json
@common
@click.pass_obj
def status(settings: Settings, name: str | None, limit: int) -> int:
    """List the newest commits and what came of each.

    Then the commit that was last applied on each host.

    Examples:
      lab gitops status
      lab gitops status --name home --json
    """
    return following.status(settings, name, limit)


@click.command(cls=Documented)
@named
@common
@click.pass_obj
def run(settings: Settings, name: str | None) -> int:
    """Deal with the newest commit now; resumes what was cut off.

    Polled remotes are fetched first; where that fails, the last good clone serves. Hosts that did
    not get through last time are planned again. Exit codes as lab converge; 2: something waits.

    Examples:
      lab gitops run
      lab gitops run --name home
    """
    return following.run(settings, name)


@click.command(cls=Documented)
@named
@common
@click.pass_obj
def serve(settings: Settings, name: str | None) -> int:
    """Poll the remote and listen for webhooks.

    Runs until it is stopped; the systemd service of lab gitops install --poll runs this. A webhook
    is only a hint to look now: what it says is not believed.

    Examples:
      lab gitops serve --name home
    """
    return following.serve(settings, name)


@click.command(cls=Documented)
@click.argument("which", type=click.Choice(["pre-receive", "post-receive"]))
@named
@common
@click.pass_obj
def hook(settings: Settings, which: str, name: str | None) -> int:
    """What the repository's hooks call.

    Reads what git tells a hook on stdin. post-receive starts a worker of its own and shows what it
    does: the pusher may leave, the run goes on.

    Examples:
      lab gitops hook pre-receive --name home
    """
    return following.hook(settings, which, name)


@click.command(cls=Documented)
@named
@common
@click.pass_obj
def work(settings: Settings, name: str | None) -> int:
    """What a hook starts: deal with what is queued.

    Waits for its turn, takes the newest commit, and writes what it does to that commit's log.

    Examples:
      lab gitops work --name home
    """
    return following.work(settings, name)


@click.command(cls=Documented)
@named
@common
@click.pass_obj
def expire(settings: Settings, name: str | None) -> int:
    """What lab try starts: take a host back in time.

    Ends once no host tries a branch any more.

    Examples:
      lab gitops expire --name home
    """
    return trying.expire(settings, name)


@click.command(cls=Documented)
@click.argument("number", type=int, metavar="RUN", required=False)
@asking
@named
@common
@click.pass_obj
def approve(
    settings: Settings,
    number: int | None,
    *,
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
    name: str | None,
) -> int:
    """Apply the plan of a commit that waits for it.

    Shows the plan again and asks; where something would be lost, the host's name is typed. Exactly
    that plan is applied, or refused because the world moved. Without RUN: what waits.

    Examples:
      lab approve
      lab approve 12
      lab approve 12 --yes --confirm web1
    """
    answers = (yes, no_input, frozenset(confirm))
    return following.approve(settings, name, number, answers)


@click.command(cls=Documented)
@click.argument("commit", metavar="SHA")
@click.option(
    "--for",
    "time",
    metavar="TIME",
    default="10m",
    show_default=True,
    help="Then give up; what runs goes on.",
)
@named
@as_json
@common
@click.pass_obj
def wait(settings: Settings, commit: str, time: str, name: str | None) -> int:
    """Wait for what becomes of a pushed commit.

    Until it is applied, waits for approval, failed, was refused, or a newer commit superseded it.
    SHA is a commit or its beginning; in a checkout also HEAD or a branch. Exit codes: 0 applied, or
    nothing to change; 1 failed; 2 waits for approval, or is only planned; 3 its files are wrong; 4
    not done in time; 5 superseded.

    Examples:
      lab wait HEAD
      lab wait 1a2b3c4d5e6f --for 30m
      lab wait HEAD --json
    """
    return waiting.wait(settings, name, commit, time)


@click.command(cls=Documented)
@click.argument("words", nargs=-1, metavar="[BRANCH] host=NAME")
@click.option(
    "--for",
    "time",
    metavar="TIME",
    default="10m",
    show_default=True,
    help="Then the host goes back, unless it was kept.",
)
@click.option("--keep", is_flag=True, help="Leave the host as it is now.")
@click.option("--revert", is_flag=True, help="Take the host back now.")
@asking
@named
@common
@click.pass_obj
def trial(
    settings: Settings,
    words: tuple[str, ...],
    *,
    time: str,
    keep: bool,
    revert: bool,
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
    name: str | None,
) -> int:
    """Run a branch on one host for a while.

    Shows the plan, asks, converges that host to what the branch declares for it, and takes it back
    to the followed branch when the time is over, unless it was kept. Until then pushes leave it
    alone.

    Examples:
      lab try new-kernel host=web1
      lab try new-kernel host=web1 --for 1h
      lab try --keep host=web1
      lab try --revert host=web1
    """
    answers = (yes, no_input, frozenset(confirm))
    return trying.trial(settings, name, words, answers, time=time, keep=keep, revert=revert)

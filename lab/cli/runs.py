"""``lab plan | converge | verify | destroy``: the words of the four verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import (
    Selector,
    Settings,
    as_json,
    common,
    scope_of,
    scoped,
    selectors_of,
)

if TYPE_CHECKING:
    from lab.cli import ahead, comparing, verbs
else:
    ahead = Lazy("lab.cli.ahead")
    comparing = Lazy("lab.cli.comparing")
    verbs = Lazy("lab.cli.verbs")


def asking(function: click.decorators.FC) -> click.decorators.FC:
    """The flags that stand for answers."""
    for option in (
        click.option(
            "--confirm",
            "confirm",
            multiple=True,
            metavar="NAME",
            help="Type out a host that may lose something; repeatable.",
        ),
        click.option("--no-input", is_flag=True, help="Never ask; refuse instead."),
        click.option("-y", "--yes", is_flag=True, help="Apply the plan without asking."),
    ):
        function = option(function)
    return function


@click.command(cls=Documented)
@scoped
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Keep the plan, for: lab converge --plan FILE.",
)
@click.option(
    "--against",
    metavar="COMMIT",
    help="Only hosts declared differently than in that commit or branch; as Markdown.",
)
@click.option("--adopt", is_flag=True, help="Take over what exists and is not ours.")
@as_json
@common
@click.pass_obj
def plan(
    settings: Settings,
    words: tuple[str, ...],
    *,
    through: bool,
    only_this_layer: bool,
    jobs: int | None,
    out: str | None,
    against: str | None,
    adopt: bool,
) -> int:
    """Show what would change; change nothing.

    All layers are planned at once, also for hosts that do not exist yet; what cannot be looked at
    is marked as predicted. Exit code 0: nothing to do, 2: changes are pending.

    Examples:
      lab plan                          everything
      lab plan host=web1                one host
      lab plan l3 tag=web --through     up to the system layer
      lab plan --out today.plan         keep it, apply exactly that later
      lab plan --against origin/main    what this branch would change, for a pull request
      lab plan --json | tail -1         the report as JSON
    """
    scope = scope_of(words, through=through, only=only_this_layer)
    if against is not None:
        if out is not None:
            raise click.UsageError("--against is for reading; --out keeps a plan of hosts.")
        return comparing.plan(settings, scope, against, jobs, adopt=adopt)
    with ahead.begun(settings.root, f"look{scope.words}"):
        return verbs.plan(settings, scope, jobs, out, adopt=adopt)


@click.command(cls=Documented)
@scoped
@as_json
@common
@click.pass_obj
def verify(
    settings: Settings,
    words: tuple[str, ...],
    *,
    through: bool,
    only_this_layer: bool,
    jobs: int | None,
) -> int:
    """Look whether everything is as declared.

    Changes nothing. Exit code 0: as declared, 2: something differs.

    Examples:
      lab verify
      lab verify persona=web
      lab verify --quiet || mail -s "the lab drifted" me
    """
    scope = scope_of(words, through=through, only=only_this_layer)
    with ahead.begun(settings.root, f"look{scope.words}"):
        return verbs.verify(settings, scope, jobs)


@click.command(cls=Documented)
@scoped
@click.option(
    "--plan",
    "saved",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Apply exactly this plan, or refuse where the world moved.",
)
@asking
@click.option("--allow-destroy", is_flag=True, help="Allow losses on hosts named by --confirm.")
@click.option("--wait", is_flag=True, help="Wait for a run that holds one of the hosts.")
@click.option("--adopt", is_flag=True, help="Take over what exists and is not ours.")
@as_json
@common
@click.pass_obj
def converge(
    settings: Settings,
    words: tuple[str, ...],
    *,
    through: bool,
    only_this_layer: bool,
    jobs: int | None,
    saved: str | None,
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
    allow_destroy: bool,
    wait: bool,
    adopt: bool,
) -> int:
    """Bring hosts to what is declared.

    Shows the plan and asks, then works through the layers and looks again: converged means that
    the second plan is empty. Interrupted or failed, the same command resumes. Nothing is lost for
    good unless its host's name was typed out. With a LAYER only that one is acted on; a pending
    change below it blocks the host, unless --through takes the layers below along.

    Examples:
      lab converge                      everything; asks first
      lab converge host=web1 --yes      one host, without a question
      lab converge l3 host=web1         only its system layer
      lab converge l3 --through         everything up to the system layer
      lab converge --plan today.plan    exactly that plan
      lab converge --yes --allow-destroy --confirm web1
      lab converge --yes --wait         after whoever works on these hosts now
    """
    if saved and words:
        raise click.UsageError("--plan FILE says already which hosts and layers it is about.")
    scope = scope_of(words, through=through, only=only_this_layer)
    with ahead.begun(settings.root, f"converge{scope.words}"):
        answers = verbs.Answers(yes, no_input, allow_destroy, frozenset(confirm), wait)
        if saved:
            return verbs.apply(settings, saved, answers, jobs)
        return verbs.converge(settings, scope, answers, adopt=adopt, jobs=jobs)


@click.command(cls=Documented)
@click.argument("words", nargs=-1, type=Selector(), metavar="[SELECTOR]...")
@asking
@click.option("--with-data", is_flag=True, help="Durable disks as well: gone for good.")
@click.option("--all", "everything", is_flag=True, help="Every host of the lab.")
@click.option(
    "--forget",
    is_flag=True,
    help="Then drop this lab's journal and keys here too; only when nothing of it is left.",
)
@as_json
@common
@click.pass_obj
def destroy(
    settings: Settings,
    words: tuple[str, ...],
    *,
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
    with_data: bool,
    everything: bool,
    forget: bool,
) -> int:
    """Remove hosts; durable data only when asked to.

    Shows what goes, then wants every host's name typed out (or --confirm NAME for each). Durable
    disks stay unless --with-data is given; a host that says protect: true stays in any case.

    Examples:
      lab destroy host=web1
      lab destroy host=web1 --with-data
      lab destroy host=web1 --yes --confirm web1      in a script
      lab destroy --all
    """
    selectors = selectors_of(words)
    if not selectors and not everything:
        raise click.UsageError("say which hosts (host=NAME), or --all for every one.")
    answers = verbs.Answers(yes, no_input, allow_destroy=True, names=frozenset(confirm))
    return verbs.destroy(settings, selectors, answers, with_data=with_data, forget=forget)

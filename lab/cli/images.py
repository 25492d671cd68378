"""``lab image …``: the words of the commands about templates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from lab.cli.lazy import Documented, Family, Lazy
from lab.cli.options import Selector, Settings, as_json, common, selected, selectors_of
from lab.cli.recovery import AT
from lab.cli.runs import asking

if TYPE_CHECKING:
    from lab.cli import imaging, verbs
else:
    imaging = Lazy("lab.cli.imaging")
    verbs = Lazy("lab.cli.verbs")

TABLE = {
    "list": ("lab.cli.images:list_", "List the templates that are there, and who uses them."),
    "status": ("lab.cli.images:status", "Tell which hosts are behind, and what differs."),
    "promote": ("lab.cli.images:promote", "Choose what new machines are made from."),
    "prune": ("lab.cli.images:prune", "Delete the templates that nobody uses."),
}
_TEMPLATE = re.compile(r"^[a-z0-9][a-z0-9.-]*-[0-9a-f]{12}$")


class PromoteWord(Selector):
    """A template's name, ``persona=NAME``, ``host=NAME``, or ``at=TIME``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is, once its form is right."""
        word = str(value)
        if _TEMPLATE.match(word):
            return word
        key, equals, rest = word.partition("=")
        if not equals:
            what = "neither a template (lab image list) nor persona=NAME"
            self.fail(f"{word!r} is {what}", param, ctx)
        if key == "at":
            if not AT.match(rest):
                what = "no time: write it like 2026-11-20, 2026-11-20T08:30, or a capture's name"
                self.fail(f"{rest!r} is {what}", param, ctx)
            return word
        if key not in {"persona", "host"}:
            self.fail(f"{key}= says nothing here: persona=, host= and at= do", param, ctx)
        return super().convert(value, param, ctx)


@click.group("image", cls=Family, table=TABLE, no_args_is_help=True)
@common
def image() -> None:
    """Templates: which there are, who is behind, promote, prune.

    A template follows from what a persona's image declares, and is made when a machine needs it.
    Once one is promoted, new machines get that one, and those that exist stay on theirs until
    lab rebuild: nothing moves because a definition, or Strata's own recipe, has changed.

    Examples:
      lab image list
      lab image status
      lab image promote persona=web
      lab image prune
    """


@click.command("list", cls=Documented)
@as_json
@common
@click.pass_obj
def list_(settings: Settings) -> int:
    """List the templates that are there, and who uses them.

    With what each was made from, its size, the hosts whose machines lie on it, and the personas
    that it was promoted for.

    Examples:
      lab image list
      lab image list --json
    """
    return imaging.list_(settings)


@click.command(cls=Documented)
@selected
@as_json
@common
@click.pass_obj
def status(settings: Settings, words: tuple[str, ...]) -> int:
    """Tell which hosts are behind, and what differs.

    Of each host: the template that it was made from, the one that it would be made from now, and
    where the two differ: definition, packages old to new. -v lists every package. Exit code 2
    where a host is behind.

    Examples:
      lab image status
      lab image status persona=web -v
    """
    return imaging.status(settings, selectors_of(words))


@click.command(cls=Documented)
@click.argument("words", nargs=-1, type=PromoteWord(), metavar="[TEMPLATE] persona=NAME...")
@click.option("--from-capture", "from_capture", is_flag=True,
              help="Make the template of a captured boot disk: host=NAME [at=TIME].")  # fmt: skip
@click.option("--undo", is_flag=True, help="Let machines follow their definition again.")
@as_json
@common
@click.pass_obj
def promote(settings: Settings, words: tuple[str, ...], *, from_capture: bool, undo: bool) -> int:
    """Choose what new machines are made from.

    Writes promoted.yaml, which a commit carries like every other file; no machine is touched.
    Without TEMPLATE it is what the persona's definition comes to now. With --from-capture a
    captured boot disk (lab capture --disk) becomes a template first: what makes a machine itself,
    its data and its containers are taken out; new machines of the same persona are the default.

    Examples:
      lab image promote persona=web
      lab image promote debian-13-0a1b2c3d4e5f persona=web
      lab image promote --from-capture host=web1
      lab image promote --from-capture host=web1 at=2026-11-20 persona=shop
      lab image promote --undo persona=web
    """
    return imaging.promote(settings, _asked(words, from_capture=from_capture, undo=undo))


def _asked(words: tuple[str, ...], *, from_capture: bool, undo: bool) -> imaging.Asked:
    """What is meant. Raises UsageError where that cannot be."""
    said: dict[str, list[str]] = {"persona": [], "host": [], "at": [], "": []}
    for word in words:
        for term in word.split(","):
            key, equals, value = term.partition("=")
            said[key if equals else ""].append(value if equals else key)
    if from_capture and undo:
        raise click.UsageError("--from-capture and --undo contradict each other.")
    if len(said[""]) > 1:
        raise click.UsageError("one template at a time.")
    if said[""] and (from_capture or undo):
        raise click.UsageError("a template's name says nothing here: leave it out.")
    if from_capture and len(said["host"]) != 1:
        raise click.UsageError("say whose boot disk: --from-capture host=NAME")
    if not from_capture and (said["host"] or said["at"]):
        raise click.UsageError("host= and at= go with --from-capture; personas are promoted for.")
    if len(said["at"]) > 1:
        raise click.UsageError("one at= is enough.")
    if not from_capture and not said["persona"]:
        raise click.UsageError("say for which persona: persona=NAME")
    return imaging.Asked(
        personas=tuple(dict.fromkeys(said["persona"])),
        template=said[""][0] if said[""] else None,
        host=said["host"][0] if said["host"] else None,
        at=said["at"][0] if said["at"] else None,
        undo=undo,
    )


@click.command(cls=Documented)
@click.option("--plan", "only_plan", is_flag=True, help="Show what would go; delete nothing.")
@asking
@as_json
@common
@click.pass_obj
def prune(
    settings: Settings, *, only_plan: bool, yes: bool, no_input: bool, confirm: tuple[str, ...]
) -> int:
    """Delete the templates that nobody uses.

    No host lies on them, none would be made from them, and they are not promoted. Every converge
    does the same, but for templates that were made of captures: those go only here.

    Examples:
      lab image prune --plan
      lab image prune --yes
    """
    answers = verbs.Answers(yes, no_input, names=frozenset(confirm))
    return imaging.prune(settings, answers, only_plan=only_plan)

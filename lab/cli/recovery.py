"""``lab restore | rebuild | drill``: the words of the commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from lab.cli.captures import DataWord
from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Selector, Settings, as_json, common, selectors_of
from lab.cli.runs import asking

if TYPE_CHECKING:
    from lab.cli import recovering, verbs
else:
    recovering = Lazy("lab.cli.recovering")
    verbs = Lazy("lab.cli.verbs")

AT = re.compile(r"^(\d{4}-?\d\d-?\d\d([T ].+)?|[0-9a-f]{8,64})$")
KEYS = ("at", "to", "path")
KINDS = ("docker", "proxmox", "qemu")


class RestoreWord(DataWord):
    """A selector, ``data=NAME``, or ``at=TIME``, ``to=FOLDER``, ``path=PATH``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is, once its form is right."""
        word = str(value)
        key, equals, rest = word.partition("=")
        if key not in KEYS or not equals:
            return super().convert(value, param, ctx)
        if not rest:
            self.fail(f"{key}= needs a value", param, ctx)
        if key == "at" and not AT.match(rest):
            what = "no time: write it like 2026-11-20, 2026-11-20T08:30, or a capture's name"
            self.fail(f"{rest!r} is {what}", param, ctx)
        if key != "at" and (not rest.startswith("/") or ".." in rest.split("/")):
            self.fail(f"{rest!r} is not an absolute path on the host", param, ctx)
        return word


@click.command(cls=Documented)
@click.argument(
    "words",
    nargs=-1,
    type=RestoreWord(),
    metavar="SELECTOR [data=NAME] [at=TIME] [path=PATH] [to=FOLDER]",
)
@asking
@click.option("--as-fresh", is_flag=True,
              help="Restore nothing: let empty paths be begun anew, captures or not.")  # fmt: skip
@as_json
@common
@click.pass_obj
def restore(
    settings: Settings,
    words: tuple[str, ...],
    *,
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
    as_fresh: bool,
) -> int:
    """Put captured data back.

    The capture is read whole and compared with its manifest before anything is touched; then it
    goes to a path beside, is compared there, and takes its place while the workload is stopped.
    The original is kept until the workload is well again, and is put back where it is not. Data
    that is there gives way only once the host's name was typed. Interrupted or killed, the same
    command resumes. Of all sets of data unless data= names some; identity only by its name.

    Examples:
      lab restore host=media1                        all of it, the newest good captures
      lab restore host=media1 data=photos at=2026-11-20
      lab restore host=media1 data=photos path=/srv/photos/2025
      lab restore host=media1 data=photos to=/srv/look   replaces nothing
      lab restore host=media1 data=photos --as-fresh     begin anew, on purpose
    """
    if not any("=" in w and w.split("=")[0] not in {"data", *KEYS} for w in words):
        raise click.UsageError("say which hosts: host=NAME, persona=NAME …")
    answers = verbs.Answers(yes, no_input, names=frozenset(confirm))
    return recovering.restore(settings, words, answers, as_fresh=as_fresh)


@click.command(cls=Documented)
@click.argument("words", nargs=-1, type=Selector(), metavar="SELECTOR...")
@click.option("--plan", "only_plan", is_flag=True, help="Show every step; change nothing.")
@click.option("--lose", multiple=True, metavar="[HOST/]DATA",
              help="Type out a set of data that may fall back or be lost; repeatable.")  # fmt: skip
@asking
@as_json
@common
@click.pass_obj
def rebuild(
    settings: Settings,
    words: tuple[str, ...],
    *,
    only_plan: bool,
    lose: tuple[str, ...],
    yes: bool,
    no_input: bool,
    confirm: tuple[str, ...],
) -> int:
    """Replace machines without losing a byte.

    Runway and templates first, then a last capture, and every newest capture read back whole; only
    then, host by host in the order of after:, the OS disk is replaced, the machine made itself
    again, its system converged, its data looked at and restored where it is gone, its workloads
    started and seen healthy; at last it is captured again. Durable disks stay. Refused where a set
    of data has no verified capture, unless its loss is typed out. Killed or failed at any step, the
    same command goes on there.

    Examples:
      lab rebuild host=media1 --plan
      lab rebuild host=media1
      lab rebuild persona=media --yes --confirm media1 --confirm media2
      lab rebuild host=media1 --lose media1/cache
    """
    answers = verbs.Answers(yes, no_input, names=frozenset(confirm))
    selectors = selectors_of(words)
    if not selectors:
        raise click.UsageError("say which hosts: host=NAME, persona=NAME …")
    return recovering.rebuild(settings, selectors, answers, frozenset(lose), only_plan=only_plan)


@click.command(cls=Documented)
@click.argument("words", nargs=-1, type=Selector(), metavar="SELECTOR...")
@click.option("--sandbox", type=click.Choice(KINDS), default=None,
              help="What the twin is; else the host's own kind, or a container.")  # fmt: skip
@as_json
@common
@click.pass_obj
def drill(settings: Settings, words: tuple[str, ...], *, sandbox: str | None) -> int:
    """Prove that hosts come back from their captures.

    Of each a twin is built in a sandbox (a QEMU machine for hosts of kind qemu, a machine on their
    own node for those of Proxmox VE, else a container) with a network that leads nowhere, out of
    its newest good captures, converged, health checked, its data compared with the manifests; then
    it is destroyed. On a node the firewall closes it off, and before any data comes to it it is
    seen from inside that it reaches nothing (docs/proxmox.md). Told and kept: proved or not, the
    time of each step (RTO), the work that would be lost (RPO), and what of the host no capture
    covers. The host itself is only looked at. Exit code 1 where something is not proved.

    Examples:
      lab drill host=media1
      lab drill persona=db --json
      lab drill host=media1 --sandbox docker             quicker; proves no kernel and no boot
    """
    selectors = selectors_of(words)
    if not selectors:
        raise click.UsageError("say which hosts: host=NAME, persona=NAME …")
    return recovering.drill(settings, selectors, sandbox or "")

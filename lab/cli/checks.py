"""``lab validate | doctor | schema``: is what we start from right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Lazy
from lab.cli.options import Settings, as_json, common, selected, selectors_of

if TYPE_CHECKING:
    from lab.cli import lookups
else:
    lookups = Lazy("lab.cli.lookups")


@click.command(cls=Documented)
@as_json
@common
@click.pass_obj
def validate(settings: Settings) -> int:
    """Check the lab's files; touch nothing else.

    Every mistake is told at once, as file:line:column with the line itself. Exit code 3 when there
    is one.

    Examples:
      lab validate
      lab validate -C ~/lab --json
    """
    return lookups.validate(settings)


@click.command(cls=Documented)
@selected
@as_json
@common
@click.pass_obj
def doctor(settings: Settings, words: tuple[str, ...]) -> int:
    """Check this machine, and say what mends it.

    Exit code 0: nothing stands in the way, 5: something fails; warnings count as good.

    Examples:
      lab doctor
      lab doctor provider=box
      lab doctor --json
    """
    return lookups.doctor(settings, selectors_of(words))


@click.command(cls=Documented)
@click.argument("name", required=False, metavar="[persona|hosts|lab|accepted|events]")
@click.option(
    "--out", type=click.Path(file_okay=False), metavar="DIR",
    help="Write NAME.schema.json files there instead.",
)  # fmt: skip
@common
@click.pass_obj
def schema(settings: Settings, name: str | None, out: str | None) -> int:
    """Print the JSON Schemas of the lab's files, and of runs' events.

    For editors with a YAML language server: they complete keys and mark mistakes while you type.
    events is the schema of the lines that --json writes (docs/events.md).

    Examples:
      lab schema persona > persona.schema.json
      lab schema --out .schemas
    """
    return lookups.schema(settings, name, out)

"""``docs/cli.md`` from the commands, ``docs/events.md`` from the events: ``just reference``."""

from __future__ import annotations

import re
import sys

import click

from lab.api import streams
from lab.cli.main import TABLE, cli
from lab.cli.options import Settings

_HEAD = """\
# The command line

<!-- Made by `python -m lab.cli.reference > docs/cli.md`; a test keeps it up to date. -->

`lab [COMMAND] [LAYER] [SELECTOR]...`: data on stdout, messages and progress on stderr. Exit codes:
[operate.md](operate.md#exit-codes).

- **Layer**: `l0` … `l4`. Alone it acts on that layer only; `--through` takes those below along.
- **Selector**: `host=`, `persona=`, `tag=` or `provider=` with a name; joined by commas or spaces.
  Values of one key are alternatives, different keys narrow each other down.
- **Environment**: `NO_COLOR`, `TERM=dumb` and `COLUMNS` are honoured; `STRATA_DEBUG=1` prints the
  traceback of a bug, which is otherwise only kept below the state folder.

## JSON

`--json` writes to stdout and asks nothing. Every document names its schema; times are UTC.

| commands | what | schemas |
|---|---|---|
| `plan`, `verify`, `converge`, `destroy` | [events](events.md) as lines, then the report | \
`lab.event/1`, `lab.report/1` |
| `validate`, `entropy`, `status`, `show`, `history`, `diff`, `explain`, `doctor` | one document | \
`lab.status/1` and so on; `show` of a run `lab.run/1` |
| `graph` | one document | `lab.graph/1` |
| `secrets list`, `get`, `generate`, `doctor` | one document | `lab.secrets/1` and so on |
| any, when it fails | last line | `lab.error/1` |
| `plan --out FILE` | the plan, for `converge --plan FILE` | `lab.plan/1` |
| `gitops status` | commits, and each host's | `lab.gitops/1` |
| `wait` | what became of a commit | `lab.wait/1` |
"""


def document() -> str:
    """The whole reference as Markdown."""
    parts = [_HEAD]
    parent = click.Context(cli, info_name="lab", obj=Settings())
    for name in TABLE:
        command = cli.get_command(parent, name)
        if command is not None:
            parts += _sections(name, command, parent)
    return "\n".join(parts)


def _sections(name: str, command: click.Command, parent: click.Context) -> list[str]:
    """Of a command, and of those below it."""
    parts = [_section(name, command, parent)]
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name, parent=parent)
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            parts += _sections(inner, below, context) if below is not None else []
    return parts


def _section(name: str, command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    text, _, examples = (command.help or "").replace("\b\n", "").partition("\n\nExamples:\n")
    usage = re.sub(r"\s+", " ", command.get_usage(context).removeprefix("Usage: "))
    lines = [f"## {context.command_path}", "", f"    {usage}", "", text, ""]
    records = [p.get_help_record(context) for p in command.params]
    told = [r for r in records if r is not None and r[1]]
    lines += ["| option | meaning |", "|---|---|"] if told else []
    lines += [f"| `{_cell(r[0])}` | {_cell(r[1])} |" for r in told]
    lines += ["", "```sh", *(example.removeprefix("  ") for example in examples.splitlines())]
    return "\n".join([*lines, "```", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    click.echo(streams.page() if "events" in sys.argv else document(), nl=False)

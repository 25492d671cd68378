"""Commands that are imported when they are named."""

from __future__ import annotations

import importlib
from inspect import cleandoc
from typing import Any

import click
from click.shell_completion import CompletionItem

from lab.cli.words import nearest
from lab.lazy import Lazy

__all__ = ["Commands", "Documented", "Family", "Lazy", "documented"]


class Documented(click.Command):
    """A command whose docstring is its help: the examples at its end keep their lines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.short_help, self.help = documented(self.help or "")


def documented(text: str) -> tuple[str, str]:
    """The first line of a docstring, and all of it with the lines of its examples kept."""
    whole = cleandoc(text)
    return whole.partition("\n")[0], whole.replace("\n\nExamples:\n", "\n\n\b\nExamples:\n")


class Commands(click.Group):
    """A group whose commands are imported when they are named.

    ``table`` maps a command to its place (``module:function``) and the one line that the overview
    shows (a test holds it to the command's own first line). Its order is the overview's order.
    """

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def examples_apart(self) -> None:
        """Let the examples at the end of the help keep their lines, as in :class:`Documented`."""
        whole = cleandoc(self.help or "")
        self.short_help = whole.partition("\n")[0]
        self.help = whole.replace("\n\nExamples:\n", "\n\n\b\nExamples:\n")

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """All of them, in the order in which a newcomer meets them."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one; ``None`` for a word that is no command."""
        if cmd_name not in self.table:
            return None
        module, _, name = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's; for a wrong word it names the nearest right one."""
        word = args[0]
        if word not in self.table and not word.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {word!r}{nearest(word, self.table)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The overview, without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The names with their lines, without importing a single command."""
        commands = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in self.table.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


class Family(Commands):
    """A command with commands of its own (``lab secrets set``); its docstring is its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.short_help, self.help = documented(self.help or "")

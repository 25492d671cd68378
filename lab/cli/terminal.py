"""Where text goes: stdout for what was asked for, stderr for messages, each with its abilities."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console
from rich.text import Text

from lab.cli.options import Settings
from lab.cli.text.look import ASCII, Look, Signs
from lab.masking import mask


class Out(Console):
    """A console that goes on quietly when its reader has gone, and never wraps or guesses."""

    def on_broken_pipe(self) -> None:
        """``lab plan | head``: say no more, and let the run end as it would have."""
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)

    def lines(self, lines: Iterable[Text]) -> None:
        """Print lines as they are; a terminal wraps what is too long, so that it copies whole."""
        with self:
            for text in lines:
                self.print(_hidden(text), soft_wrap=True)


def _hidden(text: Text) -> Text:
    """The line without secrets; it loses its styles where one spans several of them."""
    plain = mask(text.plain)
    return text if plain == text.plain else Text(plain, no_wrap=True)


class Screen:
    """Both streams of one call."""

    def __init__(
        self, settings: Settings, stdout: IO[str] | None = None, stderr: IO[str] | None = None
    ) -> None:
        self.settings = settings
        self.out = console(stdout or sys.stdout, settings)
        self.err = console(stderr or sys.stderr, settings)

    @property
    def look(self) -> Look:
        """How stdout wants its text."""
        return look_of(self.out, self.settings)

    @property
    def err_look(self) -> Look:
        """How stderr wants its text."""
        return look_of(self.err, self.settings)

    @property
    def live(self) -> bool:
        """Whether a picture on stderr can be redrawn in place."""
        return self.err.is_terminal and not self.settings.quiet and os.environ.get("TERM") != "dumb"

    @property
    def can_ask(self) -> bool:
        """Whether there is a person who sees a question and can answer it."""
        return bool(sys.stdin and sys.stdin.isatty() and self.err.file.isatty())

    def say(self, *lines: Text) -> None:
        """Messages, on stderr."""
        self.err.lines(lines)

    def show(self, lines: Iterable[Text]) -> None:
        """What was asked for, on stdout."""
        self.out.lines(lines)


def console(stream: IO[str], settings: Settings) -> Out:
    """A console on that stream, with colours as the settings and the environment say."""
    terminal = stream.isatty()
    coloured = {
        "always": True,
        "never": False,
        "auto": terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
    }[settings.color]
    width = None if terminal or "COLUMNS" in os.environ else 80
    return Out(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="standard" if coloured else None,
        no_color=not coloured,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )


def look_of(out: Console, settings: Settings) -> Look:
    """Its width and signs: Unicode only where the stream's encoding has it."""
    encoding = (getattr(out.file, "encoding", None) or "utf-8").lower().replace("-", "")
    signs = Signs() if encoding.startswith("utf") else ASCII
    width = max(40, out.width)
    return Look(width=width, signs=signs, full=settings.verbose, wraps=out.is_terminal)

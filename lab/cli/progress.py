"""Listeners that show a run while it goes on: redrawn in place, plain lines or JSON lines."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Group
from rich.text import Text

from lab import events
from lab.cli.terminal import Screen
from lab.cli.text.board import Board
from lab.cli.text.look import line
from lab.cli.text.plain import Plain
from lab.masking import mask, masked

FRAMES = 8
"""Pictures a second at most."""


class Progress(contextlib.AbstractContextManager["Progress"], Protocol):
    """Shown from entering to leaving; called with every event in between."""

    def __call__(self, event: events.Event) -> None:
        """Take in one event; MUST NOT raise for what the terminal does."""

    def stopping(self) -> None:
        """The user asked to stop; say so."""


class LiveTree:
    """The board on stderr, redrawn in place; gone when the run is over."""

    def __init__(self, screen: Screen, titles: dict[str, str]) -> None:
        self._screen = screen
        self._board = Board(titles)
        self._lock = threading.RLock()  # a signal may print in between
        from rich.live import Live  # noqa: PLC0415 (only on a terminal)

        self._live = Live(
            console=screen.err,
            get_renderable=self._picture,
            refresh_per_second=FRAMES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
        with self._lock:
            notices = self._board.notices
        self._screen.say(*(line((f"! {text}", "yellow")) for text in notices))

    def __call__(self, event: events.Event) -> None:
        """Take in one event; the next frame shows it."""
        with self._lock:
            self._board.see(event)

    def stopping(self) -> None:
        """Show it in the last row."""
        self._board.stopping = True

    def _picture(self) -> Group:
        size = self._screen.err.size
        with self._lock:
            lines: list[Text] = self._board.picture(
                self._screen.err_look, size.height - 1, time.time()
            )
        return Group(*lines)


class PlainLines:
    """Lines on stderr, where nothing can be redrawn."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._plain = Plain(screen.err_look.signs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: events.Event) -> None:
        """Print what it is worth."""
        self._screen.say(*(line(text) for text in self._plain.lines(event)))

    def stopping(self) -> None:
        """The message of the signal is enough."""


class JsonLines:
    """Every event as one line of JSON on stdout; the report comes last, from the command."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: events.Event) -> None:
        """Write the line at once: somebody may be following."""
        if not isinstance(event, events.RunEnded):
            write_json(self._screen, events.to_json(event))

    def stopping(self) -> None:
        """The message of the signal is enough."""


class Silent:
    """Nothing at all (``--quiet``)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: events.Event) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""


def progress(screen: Screen, titles: dict[str, str]) -> Progress:
    """The listener that suits the settings and the terminal."""
    if screen.settings.json:
        return JsonLines(screen)
    if screen.settings.quiet:
        return Silent()
    return LiveTree(screen, titles) if screen.live else PlainLines(screen)


def write_json(screen: Screen, document: object, *, indent: int | None = None) -> None:
    """One JSON document on stdout: one line, or indented for people; secrets are masked."""
    out = screen.out
    if out.quiet:
        return
    try:
        text = json.dumps(masked(document), indent=indent, default=lambda value: mask(str(value)))
        out.file.write(text + "\n")
        out.file.flush()
    except BrokenPipeError:
        out.on_broken_pipe()

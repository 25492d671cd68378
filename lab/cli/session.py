"""One call of the library: load the lab, watch a verb, stop it on a signal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from lab import events
from lab.api import Lab
from lab.cli.options import Settings
from lab.cli.progress import progress
from lab.cli.signals import stoppable
from lab.cli.terminal import Screen
from lab.cli.text.look import line
from lab.cli.text.rows import tree_lines
from lab.errors import Interrupted, LabError
from lab.model.outcome import RunReport


class Told(Protocol):
    """What every report has."""

    @property
    def verb(self) -> str:
        """What was asked for."""
        ...


ReportT = TypeVar("ReportT", bound=Told)


class Session:
    """A loaded lab and the screen that tells of it."""

    def __init__(self, lab: Lab, screen: Screen) -> None:
        self.lab = lab
        self.screen = screen
        self.last: RunReport | None = None
        self.titles = {layer.name: layer.title for layer in lab.layers}

    def watch(self, verb: Callable[[events.Listener], ReportT]) -> ReportT:
        """Run a verb with progress on the screen; the first signal asks it to stop.

        Raises Interrupted where it was asked to stop before it had anything to report.
        """
        screen = self.screen
        with progress(screen, self.titles) as shown:

            def say(text: str) -> None:
                shown.stopping()
                screen.say(line((text, "yellow")))

            def listen(event: events.Event) -> None:
                if isinstance(event, events.RunEnded):
                    self.last = event.report
                shown(event)

            with stoppable(self.lab.cancel, say) as stop, self._told_anyway():
                report = verb(listen)
        if stop.asked and report.verb in {"plan", "verify", "entropy"}:
            raise Interrupted("Interrupted: nothing was changed.")
        return report

    @contextmanager
    def _told_anyway(self) -> Iterator[None]:
        """A bug must not hide what the run did before it."""
        try:
            yield
        except LabError:
            raise
        except Exception:
            if self.last is not None and not self.screen.settings.json:
                self.screen.say(*tree_lines(self.last.parts, self.screen.err_look, self.titles))
            raise

    def ask(self, question: str) -> str:
        """Put a question on stderr and read a line; ``""`` at the end of input."""
        self.screen.err.print(line((question, "bold")), end="", soft_wrap=True)
        return sys.stdin.readline().rstrip("\n")

    def hint(self, command: str) -> None:
        """Say what to try next, unless told to be quiet."""
        if command and not self.screen.settings.quiet:
            self.screen.say(line(("Try: ", "cyan"), command))


@contextmanager
def opened(settings: Settings) -> Iterator[Session]:
    """The lab that the settings point to, closed afterwards. Raises ConfigError."""
    with Lab.load(settings.root) as lab:
        yield Session(lab, Screen(settings))


@contextmanager
def opened_for_secrets(settings: Settings) -> Iterator[Session]:
    """The same; a secret that is used and not there yet is no mistake."""
    with Lab.load(settings.root, secrets_may_lack=True) as lab:
        yield Session(lab, Screen(settings))

"""Follow a remote: look for new commits again and again, and at once when a webhook hints at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from lab.errors import LabError
from lab.gitops.follower import Follower
from lab.gitops.steps import Tell
from lab.gitops.store import State
from lab.gitops.trials import Trials
from lab.gitops.webhook import listening
from lab.journal import who

RETRY = 300.0
"""Seconds after which a commit that did not get through is tried again by itself."""


class Service:
    """One lab's loop. ``say`` gets sentences for the log of the service."""

    def __init__(self, follower: Follower, tell: Tell, say: Callable[[str], None]) -> None:
        self._follower = follower
        self._tell = tell
        self._say = say
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._reached = True
        self._secret = ""
        self._tried = time.monotonic()

    def stop(self) -> None:
        """End the loop; a run ends its step, and the next start resumes it."""
        self._stopped.set()
        self._follower.cancel()
        self._wake.set()

    def run(self) -> None:
        """Until it is stopped."""
        settings = self._follower.settings
        with ExitStack() as stack:
            if settings.webhook is not None and settings.webhook_secret is not None:
                self._learn_secret(settings.webhook_secret)
                stack.enter_context(
                    listening(settings.webhook, lambda: self._secret, self._wake.set)
                )
                self._say(f"Webhooks are taken at http://{settings.webhook}/")
            while not self._stopped.is_set():
                self._wake.clear()
                self.look()
                self._wake.wait(settings.every)

    def _learn_secret(self, place: str) -> None:
        """What proves a webhook genuine; a commit may bring a new value of it."""
        follower = self._follower
        if place.startswith("secret:") and not self._secret:
            self._head()  # the first start: nothing was fetched yet
        with follower.turn():
            self._secret = follower.reveal(place)

    def look(self) -> None:
        """Fetch once, and deal with what is new or was left over."""
        follower = self._follower
        head = self._head()
        newest = next(iter(follower.store.requests(1)), None)
        if head is not None and (newest is None or newest.commit != head):
            follower.receive(head, newest.commit if newest else None, who())
        elif newest is not None and newest.state is State.FAILED and self._is_time():
            follower.again(who())
        with follower.turn():
            Trials(follower, self._tell).end_due()
            request = follower.next()
            if request is not None:
                self._tried = time.monotonic()
                follower.deal(request, self._tell)
        place = follower.settings.webhook_secret
        if request is not None and place is not None and self._secret:
            with suppress(LabError):  # what was good before stays good
                self._learn_secret(place)

    def _head(self) -> str | None:
        """The newest commit; of the last good clone where the remote does not answer."""
        follower = self._follower
        if follower.settings.url is None:
            return follower.repository.head(follower.settings.branch)
        try:
            head: str | None = follower.fetch()
        except LabError as error:
            if self._reached and not self._stopped.is_set():
                self._say(f"{error.message} The last good clone serves until it answers.")
            self._reached = False
            return follower.repository.head(follower.settings.branch)
        if not self._reached:
            self._say("The remote answers again.")
        self._reached = True
        return head

    def _is_time(self) -> bool:
        return time.monotonic() - self._tried > RETRY

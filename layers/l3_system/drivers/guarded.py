"""Changes that can cut us off, tried on a host under its dead man's timer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab import faults
from lab.clients import shell
from lab.errors import DeadlineExceeded, DriverError, Reverted, TransportError
from lab.layer import Report, Workspace
from lab.model.plan import Change
from layers.l3_system.kinds import guard
from layers.l3_system.kinds.kind import Step
from layers.l3_system.kinds.lifeline import Lifeline
from layers.l3_system.kinds.script import sections

_ATTEMPT = 15.0
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_OVER = 2.0
_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a new connection said of the guard; ``cause`` where there was none."""

    word: str = ""
    lines: tuple[str, ...] = ()
    cause: str = ""
    refused: bool = False


class Trial:
    """One try on one host: armed, applied, then confirmed by a new connection or reverted."""

    def __init__(
        self,
        workspace: Workspace,
        endpoint: shell.Endpoint,
        report: Report,
        window: int,
    ) -> None:
        self._workspace = workspace
        self._endpoint = endpoint
        self._report = report
        self._window = window
        self._nonce = secrets.token_hex(12)
        self._armed_at = 0.0

    def run(self, steps: Sequence[Step], line: Lifeline) -> None:
        """Carry out all steps, or none of them for long.

        Raises:
            Reverted: it cut us off; the host is as it was before, and reachable.
            DriverError: nothing was changed (it could not be armed), or a step failed (what was
                done was put back), or the host did not come back.
        """
        names = _names([change for step in steps for change in step.changes])
        steps = guard.whole(steps, line)
        self._arm(line, names)
        faults.point("l3.guard.after_arm")
        failure = self._apply(steps, names)
        faults.point("l3.guard.before_confirm")
        pool = self._workspace.resource(shell.shells)
        fresh = pool.anew(self._endpoint)
        try:
            self._settle(fresh, names, failure)
        except BaseException:
            fresh.close()
            raise
        pool.adopt(fresh)

    def _arm(self, line: Lifeline, names: str) -> None:
        self._report(f"guards {names}")
        self._armed_at = time.monotonic()
        pool = self._workspace.resource(shell.shells)
        pool.to(self._endpoint).run(
            guard.arming(self._nonce, self._window, line),
            doing=f"guard {names}",
            deadline=self._window,
            hint="nothing was changed; then the same command again",
        )

    def _apply(self, steps: Sequence[Step], names: str) -> DriverError | None:
        """Carry the steps out; what failed is told, and is not confirmed.

        A connection that breaks proves nothing yet: the host goes on without it.
        """
        script, stdin = guard.trying(self._nonce, steps)
        self._report(f"tries {names}")
        pool = self._workspace.resource(shell.shells)
        try:
            reply = pool.to(self._endpoint).run(
                script, stdin=stdin, doing=f"try {names}", deadline=self._window, check=False
            )
        except (TransportError, DeadlineExceeded):
            return None
        if reply.status == 0:
            return None
        finished = sum(name == "done" for name, _ in sections(self._nonce, reply.stdout))
        broken = steps[min(finished, len(steps) - 1)].changes
        what = f"apply {_names(broken)}" if broken else f"make {names} live"
        cause = reply.lines[-1].strip().rstrip(".") if reply.lines else f"status {reply.status}"
        return DriverError(
            f"Unable to {what} on {self._endpoint.name}: {cause}. "
            "What was changed with it was put back.",
            hint=f"the lines above tell more; then: lab plan l3 host={self._endpoint.name}",
            status=reply.status,
            lines=reply.lines,
        )

    def _settle(self, fresh: shell.Shell, names: str, failure: DriverError | None) -> None:
        """Ask over new connections until it is confirmed or reverted."""
        cause, pause = "", _PAUSE
        while self._left() > -guard.GRACE:
            if self._left() > 0:
                self._report(f"waits to be let in again, else reverts in {self._left():.0f} s")
            else:
                self._report("waits for the host to revert by itself")
            answer = self._ask(fresh)
            if answer.word == "confirmed":
                return
            if answer.word == "reverted":
                raise failure or self._reverted(names, cause, answer.lines)
            if answer.word == "failed":
                self._undo(fresh)
                continue
            if answer.word == "lost":
                break
            if not cause or not answer.cause.startswith("the connection broke"):
                cause = answer.cause or cause
            # a login that is refused must not be locked out by trying on and on
            self._wait(self._left() if answer.refused else min(pause, max(self._left(), 1.0)))
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise failure or self._gone(names, cause)

    def _ask(self, fresh: shell.Shell) -> _Answer:
        try:
            reply = fresh.run(
                guard.settling(self._nonce), doing="come back", deadline=_ATTEMPT, check=False
            )
        except DriverError as error:
            cause = error.message.partition(": ")[2].rstrip(".") or error.message
            return _Answer(cause=cause, refused=not isinstance(error, TransportError))
        word, *lines = reply.text.splitlines() or [""]
        return _Answer(word, tuple(line for line in lines if line.strip()))

    def _undo(self, fresh: shell.Shell) -> None:
        self._report("puts back what was there")
        try:
            fresh.run(guard.UNDO, doing="put it back", deadline=_ATTEMPT, check=False)
        except DriverError:
            self._wait(self._left() + _OVER)  # the timer does it

    def _left(self) -> float:
        """Seconds until the host reverts by itself, at the latest."""
        return self._armed_at + self._window - time.monotonic() + _OVER

    def _wait(self, seconds: float) -> None:
        self._workspace.cancelled.wait(max(0.1, seconds))
        self._workspace.check()

    def _reverted(self, names: str, cause: str, lines: Sequence[str]) -> Reverted:
        name, took = self._endpoint.name, time.monotonic() - self._armed_at
        why = f"it cut us off ({cause or 'no new connection came through'})"
        return Reverted(
            f"Unable to keep {names} on {name}: applied, {why}, and was reverted by the host "
            f"itself; {name} is reachable again after {took:.0f} s, as it was before.",
            hint=f"correct what is declared, then: lab plan l3 host={name}",
            lines=lines,
        )

    def _gone(self, names: str, cause: str) -> DriverError:
        name, seconds = self._endpoint.name, self._window + guard.GRACE
        return DriverError(
            f"Unable to tell what became of {names} on {name}: applied under a guard, and not "
            f"reachable for {seconds:.0f} s ({cause or 'the guard left no trace'}).",
            hint=f"a reboot of {name} reverts it, too; at its console: "
            "sh /var/lib/strata/guard/revert",
        )


def _names(changes: Sequence[Change]) -> str:
    shown = ", ".join(change.what for change in changes[:_NAMED])
    more = len(changes) - _NAMED
    return shown if more <= 0 else f"{shown} and {more} more"

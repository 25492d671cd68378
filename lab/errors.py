"""Everything that can go wrong, as one tree.

    LabError
      ConfigError          the user's YAML is wrong: every problem at once, with its place
      PlanError            a person decides
        NotOwned           the thing exists and is not ours
        Destructive        something would be lost, and nobody allowed it
        Protected          ``protect: true`` beats every flag
        Stale              the world is not the one the approved plan was made for
      DriverError          the backend said no
        TransportError     the backend or the host could not be reached
          UnknownHostKey   something answers, and cannot prove to be the host
        DeadlineExceeded   it was asked and did not finish in time
        Reverted           it cut us off, and was undone on the host by itself
      NotConverged         applied, but the second plan is not empty
      Locked               somebody else runs
      Interrupted          the user asked to stop

A message reads ``Unable to <verb> <thing> on <host>: <cause>.``; ``hint`` is what to type next.
Everything here is text for a person, secrets masked; nothing here prints or exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.masking import mask


class LabError(Exception):
    """Something a person can act on: what happened, why, and what to do next.

    Attributes:
        message: One sentence, without the hint.
        hint: The next command or edit, or ``""``.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = mask(message)
        self.hint = mask(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        """The sentence, and the hint on a line of its own."""
        return f"{self.message}\nTry: {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: where (``file:line:column``, 1-based) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        """One line, clickable in most terminals and editors."""
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(LabError):
    """The lab's files are wrong. Carries every problem that was found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        super().__init__(
            "\n".join(str(p) for p in self.problems),
            hint=f"mend the {'line' if count == 1 else f'{count} lines'} above, then: lab validate",
        )


class PlanError(LabError):
    """The plan is clear, but carrying it out is a person's decision."""


class NotOwned(PlanError):  # noqa: N818  (the house names read as sentences)
    """A thing stands in the way that this lab did not make."""


class Destructive(PlanError):  # noqa: N818
    """The plan loses something, and the loss was not allowed by name."""


class Protected(PlanError):  # noqa: N818
    """The plan loses something of a host that says ``protect: true``."""


class Stale(PlanError):  # noqa: N818
    """The world moved since the plan was approved."""


class DriverError(LabError):
    """A backend refused or failed.

    Attributes:
        command: What was run, as one line, secrets masked; ``""`` where no command was involved.
        status: Its exit status, or ``None``.
        lines: The last lines it wrote, oldest first.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        command: str = "",
        status: int | None = None,
        lines: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.command = mask(command)
        self.status = status
        self.lines = tuple(map(mask, lines))


class TransportError(DriverError):
    """The host or the backend could not be reached; nothing is known about its state."""


class UnknownHostKey(TransportError):  # noqa: N818  (the house names read as sentences)
    """What answers shows a host key that is not the one on record, or none is on record."""


class DeadlineExceeded(DriverError):  # noqa: N818
    """The step was given a deadline and did not finish by then."""


class Reverted(DriverError):  # noqa: N818
    """What was applied cut us off; the host undid it by itself, and is reachable as before."""


class NotConverged(LabError):  # noqa: N818
    """Every change was applied, and the second plan is still not empty.

    Attributes:
        remaining: One line for each change that is still pending.
    """

    def __init__(self, message: str, remaining: Sequence[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.remaining = tuple(map(mask, remaining))


class Locked(LabError):  # noqa: N818
    """Another run holds a host that this one needs. Says who, where, since when.

    Attributes:
        holder: The host, and who holds it, without the rest of the sentence.
    """

    def __init__(self, message: str, *, holder: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.holder = mask(holder)


class Interrupted(LabError):  # noqa: N818
    """The user asked to stop; what was finished is recorded, the same command resumes."""

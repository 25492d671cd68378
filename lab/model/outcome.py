"""What came of it: results are values, by host and layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from lab.model.plan import Plan


class Outcome(StrEnum):
    """How one host's layer ended."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    PENDING = "pending"  # only planned: there are changes, none was applied
    FAILED = "failed"
    REVERTED = "reverted"  # it cut us off and undid itself: as before, and not as declared
    BLOCKED = "blocked"  # a blocker, a guard, or a lower layer or another host failed
    UNREACHABLE = "unreachable"  # offline: left behind, picked up by the next run
    INTERRUPTED = "interrupted"

    @property
    def is_good(self) -> bool:
        """Whether what waits for this may go on."""
        return self in {Outcome.UNCHANGED, Outcome.CHANGED, Outcome.PENDING}


class ExitCode(IntEnum):
    """The exit codes of every command; documented in docs/operate.md."""

    OK = 0
    FAILED = 1
    PENDING = 2
    CONFIG = 3
    LOCKED = 4
    REFUSED = 5
    UNREACHABLE = 6
    REVERTED = 7
    INTERRUPTED = 130


class Level(StrEnum):
    """How a finding stands."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a doctor looked at: how it stands, and the line that mends it."""

    level: Level
    what: str
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not end well, ready to be shown: plain words, never a traceback."""

    kind: str
    message: str
    hint: str = ""
    command: str = ""
    status: int | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartReport:
    """One target of one layer of one host.

    ``plan`` is what was found to do; ``applied`` names the changes that were carried out, in order.
    """

    host: str
    layer: str
    part: str
    driver: str
    outcome: Outcome
    plan: Plan = field(default_factory=Plan)
    applied: tuple[str, ...] = ()
    failure: Failure | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything one plan, verify, converge or destroy did or found.

    ``handed`` is, for each host, what its layers handed up (address, ports, template …).
    """

    verb: str
    run: str
    parts: tuple[PartReport, ...]
    handed: dict[str, dict[str, object]]
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The gravest thing that happened, as the process's exit code."""
        outcomes = {p.outcome for p in self.parts}
        refusals = {"NotOwned", "Destructive", "Protected", "Stale", "Blocked"}
        if Outcome.INTERRUPTED in outcomes:
            return ExitCode.INTERRUPTED
        if Outcome.FAILED in outcomes:
            return ExitCode.FAILED
        if Outcome.REVERTED in outcomes:
            return ExitCode.REVERTED
        if any(p.failure and p.failure.kind in refusals for p in self.parts):
            return ExitCode.REFUSED
        if Outcome.UNREACHABLE in outcomes:
            return ExitCode.UNREACHABLE
        if Outcome.BLOCKED in outcomes:
            return ExitCode.REFUSED
        return ExitCode.PENDING if Outcome.PENDING in outcomes else ExitCode.OK

    def count(self, outcome: Outcome) -> int:
        """How many parts ended so."""
        return sum(p.outcome is outcome for p in self.parts)

    @property
    def changes(self) -> int:
        """How many changes are pending or were applied."""
        return sum(len(p.applied or p.plan.changes) for p in self.parts)

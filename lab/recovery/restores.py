"""Restores of a lab: which capture of which set goes where, asked about first, then carried out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from lab import events
from lab.clients.shell import Shell, shells
from lab.engine import Approval, Engine
from lab.errors import ConfigError, Destructive, DriverError, PlanError, Problem, Protected
from lab.journal import Journal, locked
from lab.layer import Workspace
from lab.model import standing
from lab.model.dataset import DataSet
from lab.model.host import Host
from lab.model.outcome import Outcome, RunReport
from lab.model.standing import Content, Marker, Standing
from lab.model.units import show_size
from lab.recovery import reach
from lab.recovery.captures import Captures
from lab.recovery.identity import IDENTITY_SET
from lab.recovery.repository import Capture, Listing, Repository
from lab.recovery.restoring import Restoring, Spot, Wanted
from lab.recovery.run import Part, SetRun
from lab.recovery.users import Told, Users

_OWN_KEY = "/etc/ssh/ssh_host_ed25519_key*"
_RELOAD = "systemctl try-reload-or-restart ssh sshd 2>/dev/null; :"
_SNAPSHOT = re.compile(r"^[0-9a-f]{8,64}$")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for.

    Attributes:
        names: Sets of data; none: all that have a capture, but for what makes a host itself.
        at: ``"2026-11-20"``, ``"2026-11-20T08:30"`` (UTC) or the beginning of a capture's name;
            ``""``: the newest good one.
        only: Nothing but this path.
        to: To another place, replacing nothing.
    """

    names: tuple[str, ...] = ()
    at: str = ""
    only: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class Intended:
    """One path of one set that would be restored.

    Attributes:
        replaces: Something is there, and would give way.
        resumes: An earlier restore of it did not finish.
    """

    host: str
    data: str
    capture: Capture
    path: str
    files: int
    size: int
    content: Content
    replaces: bool
    resumes: bool


@dataclass(frozen=True)
class RestoreReport:
    """What came of it: the run as any other, and which capture each set is of now."""

    run: RunReport
    captures: Mapping[tuple[str, str], Capture] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """The run's."""
        return self.run.verb


class Restores:
    """The restores of one loaded lab."""

    def __init__(
        self, captures: Captures, engine: Engine, workspace: Workspace, journal: Journal
    ) -> None:
        self._captures, self._engine = captures, engine
        self._workspace, self._journal = workspace, journal

    def plan(self, hosts: Sequence[Host], asked: Asked) -> tuple[Intended, ...]:
        """What :meth:`carry_out` would do, by a look at the hosts. Changes nothing."""
        repository, listing = self._captures.repository, self._captures.listing()
        machines = reach.handed_by(self._engine, hosts, len(hosts) or 1)
        found: list[Intended] = []
        for host in hosts:
            for one, capture in self._chosen(host, asked, listing):
                restoring = self._restoring(repository, machines, host, one, _silent)
                wanted = Wanted(capture, asked.only, asked.to)
                spots = restoring.spots(wanted, repository.manifest(capture))
                found += [_intended(host, one, capture, spot) for spot in spots]
                if not spots:
                    found.append(_intended(host, one, capture, None))
        return tuple(found)

    def carry_out(
        self,
        hosts: Sequence[Host],
        asked: Asked,
        approval: Approval,
        *,
        listen: events.Listener = events.ignore,
    ) -> RestoreReport:
        """Restore, set by set; one that fails does not keep the others from it.

        What is there gives way only where ``approval`` holds the host's name. Raises Locked,
        ConfigError, and what keeps the repository from being used; every other failure is in the
        report.
        """
        repository = self._captures.repository
        run = SetRun(self._journal, "restore", hosts, listen)
        done: dict[tuple[str, str], Capture] = {}
        names = [h.name for h in hosts]
        with locked(self._workspace.state / "locks", names, "restore"), run.told(None):
            listing = self._captures.listing()
            machines = reach.handed_by(self._engine, hosts, len(hosts) or 1)
            for host in hosts:
                for one, capture in self._chosen(host, asked, listing):
                    wanted = Wanted(capture, asked.only, asked.to)
                    work = _Work(repository, machines, host, one, wanted, approval)
                    run.part(host.name, one.name, partial(self._carry_out, work))
                    done[host.name, one.name] = capture
        good = {(p.host, p.part) for p in run.report().parts if p.outcome.is_good}
        return RestoreReport(run.report(), {k: c for k, c in done.items() if k in good})

    def _carry_out(self, work: _Work, part: Part) -> None:
        host, one, wanted = work.host, work.one, work.wanted
        restoring = self._restoring(work.repository, work.machines, host, one, part.tell)
        part.tell("looking")
        spots = restoring.spots(wanted, work.repository.manifest(wanted.capture))
        if not wanted.to:
            full = [s.place.path for s in spots if s.replaces]
            full += self._database(work) if one.dump and not wanted.only else []
            _allow(host, one, full, work.approval)
        manifest = restoring.checked(wanted)
        restoring.carry_out(wanted, manifest, spots)
        if one == IDENTITY_SET and not wanted.to:
            self._shell(work.machines, host).run(_RELOAD, doing="let sshd read its keys again")
        part.applied = (f"restored {show_size(manifest.size)} of {_when(wanted.capture.at)}",)
        part.outcome = Outcome.CHANGED

    def _database(self, work: _Work) -> list[str]:
        """What a dump would be read into, where somebody runs there already."""
        paths = standing.path_of(work.one)
        reply = self._shell(work.machines, work.host).run(
            standing.look(paths), doing=f"restore {work.one.name}", deadline=120.0
        )
        looked = standing.seen(paths, reply.text)
        there = [s for s in looked if s.content is Content.FULL and not _unfinished(s)]
        return [f"the database of {work.one.name}"] if there else []

    def begin_anew(
        self,
        hosts: Sequence[Host],
        names: Sequence[str],
        approval: Approval,
        *,
        listen: events.Listener = events.ignore,
    ) -> RestoreReport:
        """Declare empty paths fresh, although there are captures: they may be started on.

        Refused unless the host's name was typed, and for paths that are not empty.
        """
        run = SetRun(self._journal, "restore", hosts, listen)
        with (
            locked(self._workspace.state / "locks", [h.name for h in hosts], "restore"),
            run.told(None),
        ):
            machines = reach.handed_by(self._engine, hosts, len(hosts) or 1)
            for host in hosts:
                for one in self._sets(host, names):
                    step = partial(self._begin_anew, machines, host, one, approval)
                    run.part(host.name, one.name, step)
        return RestoreReport(run.report())

    def _begin_anew(
        self, machines: RunReport, host: Host, one: DataSet, approval: Approval, part: Part
    ) -> None:
        if host.name not in approval.confirmed:
            raise Destructive(
                f"Unable to begin {one.name} of {host.name} anew: the name was not typed.",
                hint=f"add --confirm {host.name}",
            )
        shell, paths = self._shell(machines, host), standing.path_of(one)
        doing = f"begin {one.name} anew"
        reply = shell.run(standing.look(paths), doing=doing, deadline=120.0)
        found = tuple(standing.seen(paths, reply.text))
        full = [s.path for s in found if s.content is Content.FULL and one.paths]
        if full:
            raise PlanError(
                f"Unable to {doing} on {host.name}: {full[0]} is not empty.",
                hint="move away what is there first",
            )
        marks = [Marker(p, one.name, Standing.FRESH, time.time()) for p in paths]
        shell.run(standing.FUNCTIONS + standing.write(marks), doing=doing)
        part.applied = ("begun anew",)
        part.outcome = Outcome.CHANGED

    # -- which -------------------------------------------------------------------------------------

    def _sets(self, host: Host, names: Sequence[str]) -> tuple[DataSet, ...]:
        every = self._captures.sets(host)
        unknown = [n for n in names if n not in {o.name for o in every}]
        if unknown:
            known = ", ".join(o.name for o in every)
            text = f"no set of data of {host.name} is called {unknown[0]!r} (known: {known})"
            raise ConfigError([Problem("", text)])
        if names:
            return tuple(o for o in every if o.name in names)
        return tuple(o for o in every if o != IDENTITY_SET)

    def _chosen(
        self, host: Host, asked: Asked, listing: Listing
    ) -> Iterable[tuple[DataSet, Capture]]:
        for one in self._sets(host, asked.names):
            found = chosen(listing.of(host.name, one.name, good=True), asked.at)
            if found is not None:
                yield one, found
            elif one.name in asked.names:
                old = " that is old enough" if asked.at else ""
                raise DriverError(
                    f"Unable to restore {one.name} of {host.name}: the repository has no good"
                    f" capture of it{old}.",
                    hint=f"lab captures list host={host.name} data={one.name}",
                )

    def _restoring(
        self, repository: Repository, machines: RunReport, host: Host, one: DataSet, told: Told
    ) -> Restoring:
        shell = self._shell(machines, host)
        handed = machines.handed.get(host.name, {})
        users = Users(self._engine, host, one, handed, told)
        key = str(handed.get("host_key") or "")
        leave = _OWN_KEY if key.startswith("ssh-ed25519 ") else ""
        return Restoring(repository, shell, one, users, told, leave=leave)

    def _shell(self, machines: RunReport, host: Host) -> Shell:
        return self._workspace.resource(shells).to(reach.endpoint_of(machines, host.name))


@dataclass(frozen=True, slots=True)
class _Work:
    """One set of one host in one run."""

    repository: Repository
    machines: RunReport
    host: Host
    one: DataSet
    wanted: Wanted
    approval: Approval


def chosen(captures: Sequence[Capture], at: str) -> Capture | None:
    """Of these, newest first: the newest that is not younger than ``at``, or the one so called."""
    if _SNAPSHOT.match(at):
        return next((c for c in captures if c.snapshot.startswith(at)), None)
    until = moment(at) if at else None
    return next((c for c in captures if until is None or c.at <= until), None)


def moment(text: str) -> float:
    """Seconds since the epoch of a day (its end) or a time, in UTC unless it says another zone.

    Raises ConfigError.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        what = (
            f"{text!r} is no time: write it like 2026-11-20, 2026-11-20T08:30, or a capture's name"
        )
        raise ConfigError([Problem("", what)]) from None
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        when = when.replace(hour=23, minute=59, second=59)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _unfinished(one: standing.Seen) -> bool:
    return one.marker is not None and not one.marker.complete


def _allow(host: Host, one: DataSet, full: Sequence[str], approval: Approval) -> None:
    if not full or one == IDENTITY_SET:
        return
    what = f"Unable to restore {one.name} of {host.name}: {full[0]} holds data that would give way"
    if host.protect:
        raise Protected(
            f"{what}, and {host.name} is protected.",
            hint=f"lab restore host={host.name} data={one.name} to=/some/folder",
        )
    if host.name not in approval.confirmed:
        raise Destructive(f"{what}, and the name was not typed.", hint=f"add --confirm {host.name}")


def _intended(host: Host, one: DataSet, capture: Capture, spot: Spot | None) -> Intended:
    return Intended(
        host=host.name,
        data=one.name,
        capture=capture,
        path=spot.place.path if spot else "its dump",
        files=len([e for e in spot.entries.values() if e.sha256]) if spot else 0,
        size=spot.size if spot else capture.size,
        content=spot.looked.seen.content if spot else Content.ABSENT,
        replaces=spot.replaces if spot else bool(one.dump),
        resumes=bool(spot and spot.looked.phase),
    )


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _silent(doing: str, done: int | None = None, total: int | None = None) -> None:
    """Nobody listens to a plan."""


__all__ = ["Asked", "Intended", "RestoreReport", "Restores", "chosen", "moment"]

"""``lab.recovery``: restore, rebuild and drill, each one verb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

from lab import events
from lab.engine import Approval, Engine
from lab.journal import Journal
from lab.layer import Workspace
from lab.model.host import Host
from lab.recovery.captures import Captures
from lab.recovery.drilling import DrillReport, Drills, Load
from lab.recovery.rebuilding import Ask, RebuildReport, Rebuilds, Step
from lab.recovery.restores import Asked, Intended, RestoreReport, Restores

if TYPE_CHECKING:
    from lab.recovery.templates import Made

Select = Callable[..., tuple[Host, ...]]
Running = Callable[..., AbstractContextManager[events.Listener]]


class Recovery:
    """What brings data and hosts back. Made by :attr:`Lab.recovery`."""

    def __init__(
        self,
        captures: Captures,
        engine: Engine,
        workspace: Workspace,
        journal: Journal,
        *,
        select: Select,
        running: Running,
        twin: Load,
    ) -> None:
        self._captures, self._engine = captures, engine
        self._workspace, self._journal = workspace, journal
        self._select, self._running, self._twin = select, running, twin

    @cached_property
    def _restores(self) -> Restores:
        return Restores(self._captures, self._engine, self._workspace, self._journal)

    def plan_restore(self, *selectors: str, asked: Asked | None = None) -> tuple[Intended, ...]:
        """What :meth:`restore` would put where, and what would give way. Changes nothing."""
        with self._running():
            return self._restores.plan(self._select(*selectors), asked or Asked())

    def restore(
        self,
        *selectors: str,
        asked: Asked | None = None,
        approval: Approval | None = None,
        on_event: events.Listener = events.ignore,
    ) -> RestoreReport:
        """Restore sets of data of these hosts, each whole or not at all.

        The capture is read to its end and compared first; the original is kept until those who use
        the data are well with the new. Data that is there gives way only where ``approval`` holds
        the host's name.
        """
        with self._running(on_event) as listen:
            return self._restores.carry_out(
                self._select(*selectors), asked or Asked(), approval or Approval(), listen=listen
            )

    @cached_property
    def _rebuilds(self) -> Rebuilds:
        return Rebuilds(
            self._captures, self._restores, self._engine, self._workspace, self._journal
        )

    def plan_rebuild(self, *selectors: str) -> tuple[Step, ...]:
        """Every step that :meth:`rebuild` would do, or has done of one that did not end."""
        return self._rebuilds.plan(self._select(*selectors))

    def rebuild(
        self, *selectors: str, ask: Ask, on_event: events.Listener = events.ignore
    ) -> RebuildReport:
        """Replace the OS disks of these hosts without losing a byte, or go on with that.

        Refused without a verified capture of every set, unless ``ask`` names the loss.
        """
        with self._running(on_event) as listen:
            return self._rebuilds.carry_out(self._select(*selectors), ask, listen=listen)

    def drill(
        self, *selectors: str, sandbox: str = "", on_event: events.Listener = events.ignore
    ) -> DrillReport:
        """Prove that these hosts come back from their captures: a throwaway twin of each, alone.

        The twin is of the host's own kind, on Proxmox VE on its own node, else a container; or as
        ``sandbox`` says.
        What it showed is kept: as JSON and Markdown in the state folder, and in the journal.
        """
        drills = Drills(self._captures, self._engine, self._workspace, self._twin, sandbox)
        with self._running(on_event) as listen:
            return drills.carry_out(self._select(*selectors), listen=listen)

    def template_of(
        self,
        host: str,
        persona: str,
        at: str | None = None,
        *,
        on_event: events.Listener = events.ignore,
    ) -> Made:
        """A template for ``persona`` out of the captured boot disk of ``host``, without identity.

        It is not promoted by that: :meth:`lab.api.images.Images.promote` does.
        """
        from lab.recovery.templates import Templates  # noqa: PLC0415 (most calls need none of it)

        templates = Templates(self._captures, self._engine, self._workspace, self._journal)
        with self._running(on_event) as listen:
            (chosen,) = self._select(f"host={host}")
            return templates.make(chosen, persona, at or "", listen=listen)

    def begin_anew(
        self,
        *selectors: str,
        names: Sequence[str] = (),
        approval: Approval,
        on_event: events.Listener = events.ignore,
    ) -> RestoreReport:
        """Let workloads start on empty paths although there are captures; names must be typed."""
        with self._running(on_event) as listen:
            return self._restores.begin_anew(
                self._select(*selectors), names, approval, listen=listen
            )


__all__ = ["Recovery"]

"""``Lab``: load, plan, converge, verify, destroy, and what is known about the lab."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lab import events
from lab.api.login import ssh_command
from lab.api.places import forget, workspace_of
from lab.api.selector import select
from lab.api.tracing import traced
from lab.config import Inventory, find_root, lab_name, load
from lab.engine import JOBS, Approval, Engine
from lab.engine.digests import Digests, digest_of
from lab.engine.protocol import Options
from lab.errors import (
    ConfigError,
    Interrupted,
    LabError,
    PlanError,
    Problem,
    Stale,
    TransportError,
)
from lab.journal import Journal, RunPast, RunRecord, locked
from lab.layer import Layer, Workspace
from lab.lazy import Lazy
from lab.model.host import Host, Part
from lab.model.outcome import ExitCode, Finding, Level, RunReport
from lab.secrets.store import Store
from layers import LAYERS

if TYPE_CHECKING:
    from lab.api import adopting, past, staging, standing, streams
    from lab.api import explain as explanations
    from lab.api import graph as graphs
    from lab.api import saved as saved_plans
    from lab.api import schema as schemas
    from lab.api import secrets as lab_secrets
    from lab.api import why as reasons
    from lab.api.images import Images
    from lab.api.recovering import Recovery
    from lab.api.saved import SavedPlan
    from lab.api.standing import HostStatus
    from lab.engine.survey import SurveyReport
    from lab.recovery.captures import CaptureReport, Captures
    from lab.recovery.drilling import Twin
else:
    adopting = Lazy("lab.api.adopting")
    explanations = Lazy("lab.api.explain")
    graphs = Lazy("lab.api.graph")
    past = Lazy("lab.api.past")
    schemas = Lazy("lab.api.schema")
    lab_secrets = Lazy("lab.api.secrets")
    saved_plans = Lazy("lab.api.saved")
    staging = Lazy("lab.api.staging")
    standing = Lazy("lab.api.standing")
    streams = Lazy("lab.api.streams")
    reasons = Lazy("lab.api.why")


@dataclass(frozen=True, slots=True)
class Shown:
    """One value of a host's merged document and where it was written."""

    path: str
    value: Any
    where: str


class Lab:
    """One loaded, valid lab. A context manager; ``close()`` ends its sessions.

    Attributes:
        inventory: Everything its files declare.
        layers: The layers, in order.
        workspace: Where it keeps things on this machine.
    """

    def __init__(
        self, inventory: Inventory, layers: tuple[Layer, ...], *, twin_of: str = ""
    ) -> None:
        self.inventory = inventory
        self.layers = layers
        self.workspace: Workspace = workspace_of(inventory.name, inventory.root, twin_of)
        self._journal = Journal(self.workspace.state)
        self._engine = Engine(inventory, layers, self.workspace, self._journal)

    @classmethod
    def load(
        cls,
        root: str | Path | None = None,
        layers: tuple[Layer, ...] = LAYERS,
        *,
        secrets_may_lack: bool = False,
        commit: str | None = None,
        twin_of: str = "",
    ) -> Lab:
        """Read and validate the lab in ``root`` (or in the nearest folder upwards from here).

        Raises ConfigError with every mistake at once. Touches nothing, and decrypts nothing.
        ``secrets_may_lack``: a secret that is used and not there yet is no mistake. ``commit`` is
        what the journal records where ``root`` is not a checkout of its own. ``twin_of``: the lab
        whose throwaway twin this is: its keys open the secrets, its templates are shared.
        """
        folder = find_root(Path.cwd()) if root is None else Path(root).resolve()
        store = Store(folder, twin_of or lab_name(folder), lenient=secrets_may_lack)
        inventory = load(folder, layers, store)
        said = replace(inventory, commit=commit) if commit else inventory
        return cls(said, layers, twin_of=twin_of)

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.inventory.name

    @property
    def secrets(self) -> lab_secrets.LabSecrets:
        """Its passwords and keys, encrypted in ``secrets/``."""
        return lab_secrets.LabSecrets(self.inventory)

    @property
    def root(self) -> Path:
        """The folder with ``lab.yaml``."""
        return self.inventory.root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sessions with the hosts and close the journal. May be called twice."""
        self.workspace.close()
        self._journal.close()

    def cancel(self) -> None:
        """Ask the running verb to stop after what cannot be cut short; from any thread."""
        self.workspace.cancelled.set()

    def select(self, *selectors: str) -> tuple[Host, ...]:
        """The declared hosts that match (``"host=web1,persona=web"``); no selector: all."""
        return select(self.inventory.hosts.values(), selectors)

    def plan(
        self,
        *selectors: str,
        layer: str | None = None,
        through: bool = True,
        adopt: bool = False,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> RunReport:
        """What :meth:`converge` would do, over all layers, also before a host exists.

        Changes nothing anywhere. ``layer`` (``"l3"``) is the highest layer to look at.
        """
        options = Options(self._stop(layer), through=through, adopt=adopt)
        return self._look("plan", selectors, options, on_event, jobs)

    def verify(
        self,
        *selectors: str,
        layer: str | None = None,
        through: bool = True,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> RunReport:
        """Whether everything is as declared: :meth:`plan`, asked as a question.

        The journal keeps the last answer of every part, for :meth:`status`.
        """
        options = Options(self._stop(layer), through=through)
        return self._look("verify", selectors, options, on_event, jobs)

    def _look(
        self,
        verb: str,
        selectors: tuple[str, ...],
        options: Options,
        on_event: events.Listener,
        jobs: int | None,
    ) -> RunReport:
        hosts = self.select(*selectors)
        with self._running(on_event) as listen:
            report = self._engine.plan(hosts, options, listen, verb=verb, jobs=jobs or JOBS)
        return report if options.through else _only(report, self.layers[options.stop].name)

    def survey(
        self,
        *selectors: str,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> SurveyReport:
        """What is on the hosts and in no file of the lab, and a score for each (0 = nothing).

        Changes nothing there. The scores are kept in the journal, for :meth:`status`.
        """
        with self._running():
            return self._engine.survey(self.select(*selectors), on_event, jobs=jobs or JOBS)

    def adopt(
        self,
        host: str,
        login: adopting.Login,
        *,
        persona: str | None = None,
        provider: str | None = None,
        dry_run: bool = False,
        on_event: events.Listener = events.ignore,
    ) -> adopting.Adopted:
        """Write a machine that is there down as files of this lab, then plan it.

        Changes nothing on the machine. All files come at once or none; no file is ever overwritten
        (ConfigError). What cannot or had better not be written down is told in the result, as are
        changes that remain.
        """
        name = persona or host
        where = adopting.checked(self.inventory, host, name, provider)
        made = adopting.host_of(self.layers, self.inventory, host, name, login)
        with self._running():
            report, described = self._engine.describe(made, on_event)
        _raise_failure(report)
        with locked(self.workspace.state / "locks", [host], "adopt"):
            staging.undo(self.root, host)
            draft = adopting.drafted(self.inventory, made, where, login, described)
            if dry_run:
                return draft.adopted
            with staging.placed(self.root, host, draft.new, draft.edited):
                after = Lab.load(self.root, self.layers)
        with after:
            return replace(draft.adopted, plan=after.plan(f"host={host}", on_event=on_event))

    def converge(
        self,
        *selectors: str,
        layer: str | None = None,
        through: bool = True,
        approval: Approval | None = None,
        adopt: bool = False,
        wait: bool = False,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> RunReport:
        """Bring the hosts to what is declared, layer by layer, and look again.

        Nothing is destroyed unless ``approval`` allows it by name. Raises Locked where another run
        holds one of the hosts (with ``wait`` it waits for it); every other failure is in the
        report.
        """
        options = Options(self._stop(layer), through=through, adopt=adopt)
        with self._running(on_event) as listen:
            return self._engine.converge(
                self.select(*selectors),
                options,
                approval or Approval(),
                listen,
                jobs=jobs or JOBS,
                wait=wait,
            )

    def apply(
        self,
        saved: SavedPlan,
        *,
        approval: Approval | None = None,
        wait: bool = False,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> RunReport:
        """Apply exactly that plan. Raises Stale where the lab's files say something else by now."""
        if saved.lab != self.name:
            raise Stale(
                f"Unable to apply the plan: it is for the lab {saved.lab!r}, not {self.name!r}."
            )
        hosts = [self.inventory.hosts[h] for h in saved.hosts if h in self.inventory.hosts]
        if len(hosts) != len(saved.hosts) or self._sources(tuple(hosts)) != saved.sources:
            raise Stale(
                "Unable to apply the plan: the lab's files changed since it was made.",
                hint="lab plan --out FILE, look at it, apply that one",
            )
        allowed = replace(approval or Approval(), only=saved.plans)
        options = Options(self._stop(saved.layer), through=saved.through, adopt=saved.adopt)
        with self._running(on_event) as listen:
            return self._engine.converge(
                hosts, options, allowed, listen, jobs=jobs or JOBS, wait=wait
            )

    def saved(
        self,
        report: RunReport,
        *selectors: str,
        layer: str | None = None,
        through: bool = True,
        adopt: bool = False,
    ) -> SavedPlan:
        """The plan of a report, to be written to a file or applied right away."""
        hosts = self.select(*selectors)
        return saved_plans.SavedPlan(
            lab=self.name,
            layer=layer,
            through=through,
            adopt=adopt,
            hosts=tuple(h.name for h in hosts),
            plans=saved_plans.plans_of(report),
            sources=self._sources(hosts),
        )

    def destroy(
        self,
        *selectors: str,
        approval: Approval,
        with_data: bool = False,
        on_event: events.Listener = events.ignore,
    ) -> RunReport:
        """Delete the machines of these hosts; their durable disks only ``with_data``.

        Hosts that no file declares any more are found in the ledger. ``approval`` must allow it
        and hold the names typed out; ``protect: true`` beats it.
        """
        options = Options(len(self.layers) - 1, with_data=with_data)
        with self._running(on_event) as listen:
            return self._engine.destroy(self._existing(selectors), options, approval, listen)

    def plan_destroy(
        self, *selectors: str, with_data: bool = False, on_event: events.Listener = events.ignore
    ) -> RunReport:
        """What :meth:`destroy` would delete. Changes nothing."""
        options = Options(len(self.layers) - 1, with_data=with_data)
        hosts = self._existing(selectors)
        with self._running():
            return self._engine.destroy(hosts, options, Approval(), on_event, only_plan=True)

    def forget(self) -> None:
        """Drop everything that is kept of this lab on this machine: journal, keys, images, caches.

        Raises PlanError where something that it made still exists: that would be orphaned.
        """
        left = sorted({o.host for o in self._journal.ledger()})
        if left:
            raise PlanError(
                f"Unable to forget the lab {self.name}: {', '.join(left)} still exists.",
                hint=f"lab destroy host={left[0]} --with-data",
            )
        self.close()
        forget(self.workspace)

    @cached_property
    def captures(self) -> Captures:
        """Its captures: taking, listing, verifying, dropping them."""
        from lab.recovery.captures import Captures  # noqa: PLC0415 (most calls need none of it)

        return Captures(self.inventory, self._engine, self.workspace, self._journal)

    @cached_property
    def recovery(self) -> Recovery:
        """Restore, rebuild and drill."""
        from lab.api.recovering import Recovery  # noqa: PLC0415 (most calls need none of it)

        return Recovery(
            self.captures,
            self._engine,
            self.workspace,
            self._journal,
            select=self.select,
            running=self._running,
            twin=self._twin,
        )

    @cached_property
    def images(self) -> Images:
        """Its templates: which there are, who is behind, promote, prune."""
        from lab.api.images import Images  # noqa: PLC0415 (most calls need none of it)

        def check() -> None:
            Lab.load(self.root, self.layers, secrets_may_lack=True).close()

        return Images(self.inventory, self._engine, running=self._running, check=check)

    @contextmanager
    def _twin(self, root: Path, host: str) -> Iterator[Twin]:
        """A throwaway lab of those files, for a drill."""
        from lab.recovery.drilling import Twin  # noqa: PLC0415

        with Lab.load(root, self.layers, twin_of=self.name) as lab:
            engine, journal = lab._engine, lab._journal  # noqa: SLF001 (another of this class)
            yield Twin(lab.inventory.hosts[host], engine, lab.workspace, journal, lab.forget)

    def capture(
        self,
        *selectors: str,
        names: Sequence[str] = (),
        accept_small: bool = False,
        on_event: events.Listener = events.ignore,
        jobs: int | None = None,
    ) -> CaptureReport:
        """Capture what of these hosts must not be lost (only the sets of these ``names``).

        A capture that is empty, or suddenly tiny, is flagged: kept, and no success.
        """
        hosts = self.select(*selectors)
        with self._running():
            return self.captures.take(
                hosts, names, accept_small=accept_small, listen=on_event, jobs=jobs
            )

    def capture_disks(
        self,
        *selectors: str,
        live: bool = False,
        on_event: events.Listener = events.ignore,
    ) -> CaptureReport:
        """Capture the boot disks of these hosts, one after the other.

        Each machine is shut down in order, and started again at once; with ``live`` it runs on, and
        the copy is as after a power cut.
        """
        from lab.recovery.disks import Disks  # noqa: PLC0415 (most calls need none of it)

        disks = Disks(self.captures, self._engine, self.workspace, self._journal)
        hosts = self.select(*selectors)
        with self._running():
            return disks.take(hosts, live=live, listen=on_event)

    def undeclared(self) -> tuple[str, ...]:
        """Hosts of which something exists and that no file declares any more."""
        known = {o.host for o in self._journal.ledger()}
        return tuple(sorted(known - set(self.inventory.hosts)))

    def status(self) -> list[HostStatus]:
        """How every host stands, from the journal alone."""
        known = standing.remembered(self._journal, self.workspace.state / "locks")
        return standing.standings(self.inventory.hosts.values(), self.layers, known, time.time())

    def graph(self, *selectors: str) -> graphs.Graph:
        """Who there is, what it is for, what runs and lies on it, and what waits for what."""
        return graphs.graph_of(self.inventory, self.select(*selectors))

    def history(self, limit: int = 20) -> list[RunRecord]:
        """The newest runs first."""
        return self._journal.runs(limit)

    def run(self, name: str) -> RunPast:
        """Everything about one run: its id, the beginning of it, or ``"last"``, ``"last~1"``.

        Raises ConfigError where none or several are meant.
        """
        return self._journal.run(past.find(self._journal, name))

    def compare(self, first: str, second: str | None = None) -> past.RunDiff:
        """Two runs beside each other; of one, the run of the same hosts before it and itself."""
        later = past.find(self._journal, second if second is not None else first)
        earlier = (
            past.before(self._journal, later) if second is None else past.find(self._journal, first)
        )
        runs = self._journal.run(earlier), self._journal.run(later)
        return past.compared(*runs, self.root)

    def show(self, host: str) -> list[Shown]:
        """Every value of a host, and the file and line each came from. Raises ConfigError."""
        self.select(f"host={host}")
        leaves = self.inventory.documents[host].walk()
        return [Shown(".".join(path), node.value, str(node.place)) for path, node in leaves]

    def login(self, host: str) -> list[str]:
        """The ``ssh`` command that logs in to a host, its key already known. Raises LabError."""
        names = [
            layer.short for layer in self.layers if "address" in layer.outputs_type.model_fields
        ]
        report = self.plan(f"host={host}", layer=names[0] if names else None)
        return ssh_command(self.workspace, host, report.handed.get(host, {}))

    def explain(self, topic: str) -> str:
        """What a layer, a persona key, an exit code or an error is. Raises ConfigError."""
        return explanations.explain(topic, self.layers)

    def explain_value(self, host: str, path: str) -> reasons.Why:
        """Why a value of a host is so. Raises ConfigError with the nearest right words."""
        self.select(f"host={host}")
        return reasons.why(self.inventory, self.layers, self._journal, host, path)

    def schema(self) -> dict[str, dict[str, Any]]:
        """JSON Schemas of the files, for editors, and of the ``events`` that runs write."""
        return {**schemas.schemas(self.layers), "events": streams.stream_schema()}

    def doctor(self, *selectors: str) -> list[Finding]:
        """Whether this machine can carry the lab: every finding with the line that mends it."""
        findings = [_python()]
        if self.inventory.capture is not None:
            from lab.recovery import doctor  # noqa: PLC0415 (most calls need none of it)

            findings += doctor.findings()
            findings += doctor.leftovers(self.workspace, self.select(*selectors))
        for name in self.undeclared():
            what = f"{name} exists, and no file declares it"
            findings.append(
                Finding(Level.WARN, "undeclared host", what, f"lab destroy host={name}")
            )
        hosts = self.select(*selectors)
        for host in hosts:
            for part in host.parts.get(self.layers[0].name, ()):
                for finding in self.layers[0].findings(self.workspace, host, part, hosts):
                    if finding not in findings:
                        findings.append(finding)
        return findings

    def _stop(self, layer: str | None) -> int:
        if layer is None:
            return len(self.layers) - 1
        for index, known in enumerate(self.layers):
            if layer in {known.name, known.short}:
                return index
        names = ", ".join(known.short for known in self.layers)
        raise ConfigError([Problem("", f"unknown layer {layer!r} (known: {names})")])

    def _sources(self, hosts: tuple[Host, ...]) -> str:
        digests = Digests(self.layers)
        return digest_of([digests.host(h) for h in hosts])

    def _existing(self, selectors: tuple[str, ...]) -> tuple[Host, ...]:
        """Declared hosts and those that only the ledger knows."""
        hosts = dict(self.inventory.hosts)
        for thing in self._journal.ledger():
            if thing.host in self.inventory.hosts:
                continue
            layer = next((k for k in self.layers if k.name == thing.layer), None)
            if layer is None:
                raise LabError(f"Unable to destroy {thing.host}: no layer {thing.layer} is known.")
            spec = layer.spec.model_validate_json(thing.spec, context=self.inventory.context)
            known = hosts.setdefault(thing.host, Host(thing.host, thing.persona, thing.provider))
            parts = {**known.parts, thing.layer: (Part(thing.part, thing.driver, spec),)}
            hosts[thing.host] = replace(known, parts=parts)
        return select(hosts.values(), selectors)

    @contextmanager
    def _running(self, on_event: events.Listener = events.ignore) -> Iterator[events.Listener]:
        """Whatever happens, the sessions with the hosts end with the verb; it may be traced."""
        try:
            with traced(self.name, on_event) as listen:
                yield listen
        finally:
            self.workspace.close()


def _raise_failure(report: RunReport) -> None:
    """The failure of a run over one host, as the error that it was."""
    failure = next((p.failure for p in report.parts if p.failure is not None), None)
    if failure is None:
        return
    kinds: dict[ExitCode, type[LabError]] = {
        ExitCode.UNREACHABLE: TransportError,
        ExitCode.REFUSED: PlanError,
        ExitCode.INTERRUPTED: Interrupted,
    }
    raise kinds.get(report.exit_code, LabError)(failure.message, hint=failure.hint)


def _only(report: RunReport, layer: str) -> RunReport:
    return replace(report, parts=tuple(p for p in report.parts if p.layer == layer))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(Level.PASS, "Python", version)

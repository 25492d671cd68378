"""How the lab stands, as a text file that Prometheus reads.

Names keep to https://prometheus.io/docs/practices/naming/: base units, ``_seconds``, ``_bytes``,
``_timestamp_seconds``. Ages are not written: ``time() - …_timestamp_seconds`` stays true between
two writings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lab.api.standing import HostStatus, Standing

Labels = Mapping[str, str]
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


@dataclass
class Family:
    """One metric: its name, what it means, its samples."""

    name: str
    meaning: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def add(self, value: float | None, **labels: str) -> None:
        """A sample; ``None`` (not known) is none."""
        if value is not None:
            self.samples.append((labels, value))

    def lines(self) -> Iterable[str]:
        """As Prometheus reads it; nothing where there is no sample."""
        if self.samples:
            meaning = self.meaning.replace("\\", "\\\\").replace("\n", "\\n")
            yield f"# HELP {self.name} {meaning}"
            yield f"# TYPE {self.name} gauge"
            for labels, value in self.samples:
                pairs = ",".join(f'{k}="{v.translate(_ESCAPED)}"' for k, v in labels.items())
                yield f"{self.name}{{{pairs}}} {_number(value)}"


def metrics_text(lab: str, version: str, hosts: Iterable[HostStatus]) -> str:
    """The whole file. Every sample names its lab, so that several labs may lie side by side."""
    known = list(hosts)
    about = Family("strata_lab_info", "The lab and the Strata that wrote this; always 1.")
    about.add(1, lab=lab, version=version)
    families = [about, *_host(lab, known), *_layer(lab, known), *_capture(lab, known)]
    families += [*_drill(lab, known), *_goals(lab, known)]
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _host(lab: str, hosts: list[HostStatus]) -> list[Family]:
    about = Family("strata_host_info", "A host, its persona and its provider; always 1.")
    undeclared = Family("strata_host_undeclared", "1 where it exists and no file declares it.")
    standing = Family("strata_host_standing", "1 for the word that says how the host stands.")
    behind = Family("strata_host_behind", "1 where anything is not as declared.")
    good = Family(
        "strata_host_last_success_timestamp_seconds",
        "When all of the host was last known to be as declared.",
    )
    changes = Family(
        "strata_host_pending_changes", "Changes that the last lab verify found to be made."
    )
    running = Family("strata_host_running", "1 while a run holds the host.")
    entropy = Family("strata_host_entropy_score", "Weight of what is on it and in no file.")
    surveyed = Family("strata_host_surveyed_timestamp_seconds", "When lab entropy last looked.")
    for h in hosts:
        at = {"lab": lab, "host": h.host}
        about.add(1, **at, persona=h.persona, provider=h.provider)
        undeclared.add(not h.declared, **at)
        if not h.declared:
            continue
        standing.add(1, **at, standing=h.standing.value)
        behind.add(h.behind, **at)
        good.add(h.good_at, **at)
        counts = [s.changes for s in h.layers if s.changes is not None]
        converged = h.standing is Standing.CONVERGED
        changes.add(sum(counts) if counts else 0 if converged else None, **at)
        running.add(h.running is not None, **at)
        entropy.add(h.entropy, **at)
        surveyed.add(h.surveyed, **at)
    return [about, undeclared, standing, behind, good, changes, running, entropy, surveyed]


def _layer(lab: str, hosts: list[HostStatus]) -> list[Family]:
    standing = Family("strata_layer_standing", "1 for the word that says how the layer stands.")
    outcome = Family("strata_layer_outcome", "1 for how its last run or look ended.")
    last = Family("strata_layer_last_run_timestamp_seconds", "When that was.")
    for h in hosts:
        for s in h.layers:
            at = {"lab": lab, "host": h.host, "layer": s.layer}
            standing.add(1, **at, standing=s.standing.value)
            if s.outcome:
                outcome.add(1, **at, outcome=s.outcome)
            last.add(s.at, **at)
    return [standing, outcome, last]


def _capture(lab: str, hosts: list[HostStatus]) -> list[Family]:
    good = Family(
        "strata_capture_last_good_timestamp_seconds", "When it was last captured, unflagged."
    )
    verified = Family(
        "strata_capture_last_verified_timestamp_seconds", "When one was last read back whole."
    )
    flagged = Family("strata_capture_flagged", "1 where the newest capture is not to be relied on.")
    due = Family("strata_capture_due_timestamp_seconds", "When the next one is due.")
    overdue = Family("strata_capture_overdue", "1 where it is late, or older than the RPO.")
    size = Family("strata_capture_size_bytes", "What the last good one holds.")
    files = Family("strata_capture_files", "How many files that is.")
    for h in hosts:
        for c in h.captures:
            at = {"lab": lab, "host": h.host, "data": c.data}
            good.add(c.good, **at)
            verified.add(c.verified, **at)
            flagged.add(bool(c.flagged), **at)
            due.add(c.due, **at)
            overdue.add(c.overdue, **at)
            size.add(c.size if c.good is not None else None, **at)
            files.add(c.files if c.good is not None else None, **at)
    return [good, verified, flagged, due, overdue, size, files]


def _drill(lab: str, hosts: list[HostStatus]) -> list[Family]:
    last = Family("strata_drill_last_timestamp_seconds", "When the last drill ended.")
    proved_at = Family(
        "strata_drill_last_proved_timestamp_seconds", "When one last brought everything back."
    )
    proved = Family("strata_drill_proved", "1 where the last drill brought everything back.")
    rto = Family("strata_drill_rto_seconds", "From nothing to healthy, in the last drill.")
    rpo = Family("strata_drill_rpo_seconds", "Work that the last drill would have lost.")
    missing = Family("strata_drill_missing", "Things of the host that no capture covers.")
    due = Family("strata_drill_due_timestamp_seconds", "When the next one is due.")
    overdue = Family("strata_drill_overdue", "1 where it is late.")
    for h in hosts:
        if h.drill is None:
            continue
        at = {"lab": lab, "host": h.host}
        drilled = h.drill.at is not None
        last.add(h.drill.at, **at)
        proved_at.add(h.drill.proved_at, **at)
        proved.add(h.drill.proved, **at)
        rto.add(h.drill.rto, **at)
        rpo.add(h.drill.rpo, **at)
        missing.add(h.drill.missing if drilled else None, **at)
        due.add(h.drill.due, **at)
        overdue.add(h.drill.overdue, **at)
    return [last, proved_at, proved, rto, rpo, missing, due, overdue]


def _goals(lab: str, hosts: list[HostStatus]) -> list[Family]:
    rto = Family("strata_host_rto_goal_seconds", "The longest that a rebuild may take.")
    rpo = Family("strata_host_rpo_goal_seconds", "The most work that may be lost.")
    for h in hosts:
        rto.add(h.rto, lab=lab, host=h.host)
        rpo.add(h.rpo, lab=lab, host=h.host)
    return [rto, rpo]


def _number(value: float) -> str:
    """Whole numbers as such; never an exponent that loses a second."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))

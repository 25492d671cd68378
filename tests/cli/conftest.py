"""A scripted lab: reports and events as a real one gives them, without any of its work."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import events
from lab.api import Adopted, HostStatus, LayerStatus, SavedPlan, Standing, SurveyReport
from lab.api.durability import CaptureStatus, DrillStatus
from lab.api.graph import Graph, Member, Thing
from lab.cli import main, session
from lab.cli.text.look import ASCII, Look
from lab.journal import Holder, RunRecord
from lab.model.accepted import Acceptance
from lab.model.outcome import Failure, Finding, Outcome, PartReport, RunReport
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan
from lab.model.undeclared import Sort, Undeclared, ordered

LAYERS = ("l0_runway", "l1_image", "l2_instantiate", "l3_system", "l4_workload")
DRIVERS = ("local", "debian", "qemu", "native", "compose")
TITLES = dict(zip(LAYERS, ("runway", "image", "machine", "system", "workload"), strict=True))

TEMPLATE = Change(
    Action.CREATE,
    "template debian-13-0a1b2c3d4e5f",
    (
        FieldDiff("base", None, "debian-13"),
        FieldDiff("packages", None, ["docker.io", "docker-compose"]),
    ),
)
MACHINE = Change(
    Action.REPLACE,
    "machine web1",
    (FieldDiff("template", "debian-13-000000000000", "debian-13-0a1b2c3d4e5f"),),
    reason="the template changed",
    destroys="root disk, 2.1 GiB",
    interrupts="web1 restarts",
)
MEMORY = Change(
    Action.UPDATE, "memory", (FieldDiff("memory", "1GiB", "2GiB"),), interrupts="web1 restarts"
)
MOTD = Change(
    Action.UPDATE,
    "file /etc/motd",
    (
        FieldDiff(
            "content",
            "sha256:0011",
            "sha256:aabb",
            text="--- /etc/motd\n+++ /etc/motd\n@@ -1 +1 @@\n-hello\n+welcome [bold]home[/bold]",
        ),
        FieldDiff("mode", "0600", "0644"),
    ),
)
PASSWORD = Change(
    Action.UPDATE, "user ops", (FieldDiff("password", "old-secret", "new-secret", secret=True),)
)
OLD = Change(Action.DELETE, "workload old", (), reason="no longer declared")


def part(host, layer, outcome=Outcome.UNCHANGED, *changes, **more):
    name = LAYERS[layer]
    plan = more.pop("plan", Plan(tuple(changes), predicted=more.pop("predicted", False)))
    values = {"part": "", "driver": DRIVERS[layer], "seconds": 0.1 * (layer + 1), **more}
    return PartReport(host=host, layer=name, outcome=outcome, plan=plan, **values)


def plan_report(*parts, verb="plan", **more):
    return RunReport(verb, "20250102T030405-abcdef", tuple(parts), more.pop("handed", {}), **more)


def converged(host="web1", seconds=52.0):
    made = (TEMPLATE.what,)
    return plan_report(
        part(host, 0),
        part(host, 1, Outcome.CHANGED, TEMPLATE, applied=made, seconds=38.3),
        part(host, 2),
        part(host, 3, Outcome.CHANGED, MOTD, applied=(MOTD.what,)),
        part(host, 4, part="start"),
        verb="converge",
        seconds=seconds,
        handed={
            host: {
                "address": "127.0.0.1",
                "port": 2222,
                "user": "strata",
                "identity_file": "/home/me/.local/state/strata/demo/keys/a very long name/id",
                "urls": {"start": "http://127.0.0.1:18080/"},
            }
        },
    )


def pending(host="web1"):
    machine = replace(MACHINE, what=f"machine {host}", interrupts=f"{host} restarts")
    return plan_report(
        part(host, 0, plan=Plan(notes=("KVM is not usable here: software emulation",))),
        part(host, 1, Outcome.PENDING, TEMPLATE),
        part(host, 2, Outcome.PENDING, machine),
        part(host, 3, Outcome.PENDING, PASSWORD, MOTD, predicted=True),
        part(host, 4, Outcome.PENDING, OLD, part="old"),
        part(host, 4, part="start"),
    )


def harmless(host="web1"):
    return plan_report(part(host, 0), part(host, 2, Outcome.PENDING, MEMORY))


def nothing(*hosts):
    return plan_report(*(part(h, layer) for h in hosts or ("web1",) for layer in range(5)))


def failed(host="web1"):
    why = Failure(
        "DriverError",
        "Unable to start the machine on web1: QEMU ended at once.",
        hint="lab doctor host=web1",
        command="qemu-system-x86_64 -name web1 -m 1024",
        status=1,
        lines=("qemu: could not open disk", "\x1b[31mred\x1b[0m"),
    )
    waits = Failure("After", "waits for l2_instantiate of web1")
    return plan_report(
        part(host, 0),
        part(host, 1),
        part(host, 2, Outcome.FAILED, MACHINE, failure=why),
        part(host, 3, Outcome.BLOCKED, failure=waits, seconds=0.0),
        verb="converge",
        seconds=12.0,
    )


def blocked(host="web1"):
    blocker = Blocker("port 18080 is in use", "process 4711 (nginx) listens on it", "kill 4711")
    return plan_report(
        part(host, 0, Outcome.BLOCKED, plan=Plan(blockers=(blocker,))),
        part(host, 1, Outcome.BLOCKED, failure=Failure("After", "waits for l0_runway")),
    )


def stream(report):
    """The events of a run with that report, a second apart."""
    hosts = tuple(dict.fromkeys(p.host for p in report.parts))
    at = 1_700_000_000.0
    yield events.RunStarted(at, report.run, report.verb, hosts, LAYERS)
    for p in report.parts:
        at += 1
        key = (p.host, p.layer, p.part)
        yield events.PartStarted(at, *key, p.driver)
        yield events.PartPlanned(at, *key, p.plan)
        for index, change in enumerate(p.plan.changes if p.applied else (), 1):
            count = len(p.plan.changes)
            yield events.ChangeStarted(at, *key, change, index, count)
            at += 11
            yield events.Progress(at, *key, "unpacking base-files", 40 * 2**20, 120 * 2**20)
            at += 1
            yield events.ChangeEnded(at, *key, change, ok=True, seconds=12.0)
        yield events.PartEnded(at, p)
    yield events.RunEnded(at, report)


class FakeLab:
    """Answers as the facade does; remembers what it was asked."""

    def __init__(self, root):
        self.name = "demo"
        self.root = Path(root)
        self.layers = [SimpleNamespace(name=n, title=TITLES[n]) for n in LAYERS]
        self.inventory = SimpleNamespace(
            hosts={"web1": SimpleNamespace(persona="web")},
            personas={"web": "The start page of the house", "media": ""},
        )
        self.planned = harmless()
        self.done = converged()
        self.doomed = plan_report(
            part("web1", 2, Outcome.PENDING, replace(MACHINE, action=Action.DELETE)), verb="destroy"
        )
        self.surveyed = surveyed()
        self.taken = adopted()
        self.error = None
        self.calls = []
        self.cancelled = False
        self.during = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calls.append(("close",))

    def _run(self, verb, report, on_event, **asked):
        self.calls.append((verb, asked))
        if self.error is not None:
            raise self.error
        for event in stream(report):
            on_event(event)
        if self.during is not None:
            self.during()
        return report

    def plan(self, *selectors, on_event=events.ignore, **asked):
        return self._run("plan", self.planned, on_event, selectors=selectors, **asked)

    def verify(self, *selectors, on_event=events.ignore, **asked):
        report = replace(self.planned, verb="verify")
        return self._run("verify", report, on_event, selectors=selectors, **asked)

    def survey(self, *selectors, on_event=events.ignore, **asked):
        self._run("survey", self.surveyed.run, on_event, selectors=selectors, **asked)
        return self.surveyed

    def adopt(self, host, login, *, on_event=events.ignore, **asked):
        self._run("adopt", self.taken.plan, on_event, host=host, login=login, **asked)
        return replace(self.taken, plan=None) if asked["dry_run"] else self.taken

    def converge(self, *selectors, on_event=events.ignore, **asked):
        return self._run("converge", self.done, on_event, selectors=selectors, **asked)

    def apply(self, saved, *, on_event=events.ignore, **asked):
        return self._run("apply", self.done, on_event, saved=saved, **asked)

    def plan_destroy(self, *selectors, on_event=events.ignore, **asked):
        return self._run("plan_destroy", self.doomed, on_event, selectors=selectors, **asked)

    def destroy(self, *selectors, on_event=events.ignore, **asked):
        report = plan_report(
            part("web1", 2, Outcome.CHANGED, MACHINE, applied=("machine web1",)), verb="destroy"
        )
        return self._run("destroy", report, on_event, selectors=selectors, **asked)

    def saved(self, report, *selectors, layer=None, through=True, adopt=False):
        plans = {(p.host, p.layer, p.part): p.plan for p in report.parts}
        return SavedPlan(self.name, layer, through, adopt, ("web1",), plans, "sources")

    def select(self, *selectors):
        return [SimpleNamespace(name="web1")]

    def status(self):
        return statuses()

    def graph(self, *selectors):
        return drawn()

    def history(self, limit):
        return records()[:limit]

    def show(self, host):
        return [
            SimpleNamespace(path="machine.memory", value="1GiB", where="personas/web.yaml:12:3"),
            SimpleNamespace(path="machine.cpu", value=2, where="inventory/hosts.yaml:4:20"),
        ]

    def explain(self, topic):
        return f"{topic}: what it is."

    def schema(self):
        return {name: {"type": "object"} for name in ("persona", "hosts", "lab")}

    def doctor(self, *selectors):
        return findings()

    def cancel(self):
        self.cancelled = True


def surveyed():
    """One host with everything, one with nothing, one that is off, one that is not made yet."""
    off = Failure("TransportError", "Unable to log in on off1: 192.0.2.8 port 22 does not answer.")
    found = (
        Undeclared(Sort.DIRECTORY, "/srv/shop", "in no capture", 3 * 2**30),
        Undeclared(Sort.KEY, "bob: bob@laptop (SHA256:XSg9zAQSlNQJ)"),
        Undeclared(Sort.UNIT, "a-unit-with-a-name-that-is-longer-than-its-column.service",
                   "enabled, running"),
        Undeclared(Sort.UNIT, "tick.timer", "enabled, running"),
        *(Undeclared(Sort.PACKAGE, f"package-{n}", f"{n}.0-1") for n in range(12)),
        Undeclared(Sort.PACKAGE, "vendor-agent", "1.0", accepted="the vendor insists on it"),
        Undeclared(Sort.FILE, "/etc/\x1b[31mred", "", 12),
    )  # fmt: skip
    run = plan_report(
        part("nas1", 3),
        part("web1", 3),
        part("off1", 2, Outcome.UNREACHABLE, failure=off, driver="existing"),
        verb="entropy",
    )
    entry = Acceptance(
        kind=Sort.PACKAGE, name="gone-*", reason="was needed", where="accepted.yaml:7:5"
    )
    found = {"nas1": ordered(found), "web1": ()}
    return SurveyReport(run, found, absent=("new1",), unused=(entry,))


def adopted():
    written = (
        ("personas/nas1.yaml", "11 packages, 3 users, 1 group, 18 files, 8 services, 2 mounts"),
        ("personas/nas1/", "21 files"),
        ("inventory/hosts.yaml", "+ nas1"),
        ("lab.yaml", "+ provider there, kind existing"),
    )
    left = (
        ("/etc/ssl/private/shop.key", "by its name it may be a secret"),
        ("Compose project shop", ("its file is /opt/shop/compose.yaml: copy it beside the persona, "
         "declare it under workloads, then converge with --adopt")),
    )  # fmt: skip
    persona = "# Written by `lab adopt host=nas1`\nsystem:\n  packages: [htop]\n"
    return Adopted("nas1", written, persona, left, nothing("nas1"))


def statuses():
    at = 1_700_000_000.0
    good = tuple(LayerStatus(n, Standing.CONVERGED, at, "unchanged") for n in LAYERS)
    broken = (*good[:2], LayerStatus(LAYERS[2], Standing.FAILED, at, "failed"))
    fresh = tuple(LayerStatus(n, Standing.DECLARED) for n in LAYERS)
    return [
        HostStatus("web1", "web", "box", good),
        HostStatus("media-with-a-long-name-1", "media", "box", broken),
        HostStatus("nas1", "storage-of-the-house", "box", fresh),
        HostStatus("gone1", "web", "box", (), declared=False),
    ]


def uneasy():
    """Every reason to look after a host, an hour or days before 1_700_010_000."""
    at = 1_700_000_000.0
    day = 86_400.0
    good = tuple(
        LayerStatus(n, Standing.CONVERGED, at, "unchanged", good_at=at, changes=0) for n in LAYERS
    )

    def broken(layer, standing, outcome, changes=None):
        since = LayerStatus(LAYERS[layer], standing, at, outcome, since=at - day, changes=changes)
        return (*good[:layer], since, *good[layer + 1 :])

    fine = CaptureStatus("start", good=at, verified=at, due=at + day, size=5 << 30, files=3)
    late = replace(fine, good=at - 3 * day, due=at - 2 * day, overdue=True)
    held = Holder("me@box", 4711, at, "lab converge host=run1")
    drill = DrillStatus(at, proved=True, proved_at=at, rto=400.0, rpo=60.0, due=at + 30 * day)
    failed = replace(drill, proved=False, proved_at=at - 40 * day, overdue=True, due=at - 10 * day)
    return [
        HostStatus("fine1", "web", "box", good, captures=(fine,), drill=drill, entropy=0),
        HostStatus("drift1", "web", "box", broken(3, Standing.DRIFTED, "pending", 3)),
        HostStatus("off1", "web", "box", broken(2, Standing.UNKNOWN, "unreachable")),
        HostStatus("cut1", "web", "box", broken(3, Standing.REVERTED, "reverted")),
        HostStatus("bad1", "db", "box", broken(2, Standing.FAILED, "failed"), entropy=31),
        HostStatus("late1", "db", "box", good, captures=(late,), drill=failed),
        HostStatus(
            "slow1", "db", "box", good, drill=replace(drill, rto=1400.0, slow=True), rto=900
        ),
        HostStatus(
            "flag1", "db", "box", good, captures=(replace(fine, flagged="empty, was 1.2 GiB"),)
        ),
        HostStatus("never1", "db", "box", good, captures=(CaptureStatus("pg", due=at + day),)),
        HostStatus("run1", "nas", "box", good, running=held),
    ]


def drawn():
    things = (
        Thing("workload", "start", detail=":8080/", where="personas/web.yaml:9:3"),
        Thing("folder", "/srv/start", of="start", where="personas/web.yaml:9:40"),
        Thing("disk", "data", detail="4GiB on /srv", where="personas/web.yaml:5:3"),
    )
    hosts = (
        Member("web1", "web", "box", things=things, where="inventory/hosts.yaml:2:3"),
        Member("nas1", "nas", "box", rank=1, after=("web1",), protect=True, where="x.yaml:1:1"),
    )
    return Graph("demo", hosts, {"web": "The start page", "nas": ""}, {"box": "qemu"})


def records():
    return [
        RunRecord("20231114T221320-r2f9a1", "converge", 1_700_000_000.0, 1_700_000_052.0, 0,
                  "me@box", "1a2b3c4d5e6f", ("web1",), 7, seconds=52.0),
        RunRecord("20230722T042640-r1c77b", "converge", 1_690_000_000.0, None, None, "me@box", None,
                  ("web1", "nas1", "media1"), 0),
    ]  # fmt: skip


def findings():
    return [
        Finding("fail", "QEMU", "qemu-system-x86_64 is not there", "apt-get install qemu-kvm"),
        Finding("pass", "disk", "84 GiB free in /home/me/.local/state"),
        Finding("warn", "KVM", "/dev/kvm opens, but guests die at once: software emulation is used"
                " instead, which is slower", "see lab explain l0"),
    ]  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The scripted lab, found by every command."""
    fake = FakeLab(tmp_path)
    monkeypatch.setattr(session, "Lab", SimpleNamespace(load=lambda root: fake))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


class Answers:
    """A terminal on stdin that types these lines."""

    def __init__(self, lines):
        self.lines = list(lines)

    def isatty(self):
        return True

    def readline(self):
        return f"{self.lines.pop(0)}\n" if self.lines else ""


@pytest.fixture
def run(lab, monkeypatch, capsys):
    """Run one command line; ``answers`` puts a person before the terminal."""

    def call(*args, answers=None):
        if answers is not None:
            monkeypatch.setattr(sys, "stdin", Answers(answers))
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
            monkeypatch.setenv("TERM", "dumb")
        code = main.run(args)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return call


@pytest.fixture(params=[80, 120])
def look(request):
    return Look(width=request.param)


@pytest.fixture
def ascii_look():
    return Look(width=80, signs=ASCII)


@pytest.fixture
def scene():
    """This module's makers of reports and events."""
    return sys.modules[__name__]

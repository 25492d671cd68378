"""What people see, compared with files: set STRATA_GOLDEN=write to accept a new look."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.cells import cell_len

from lab.cli.failures import error_lines, problem_lines
from lab.cli.text import tables
from lab.cli.text.board import Board
from lab.cli.text.entropy import adopted_lines, entropy_lines
from lab.cli.text.graphs import graph_lines
from lab.cli.text.look import ASCII, Look, Signs
from lab.cli.text.plans import change_lines, plan_lines
from lab.cli.text.reports import report_lines
from lab.cli.text.standings import status_lines
from lab.errors import ConfigError, DriverError, Problem
from lab.model.plan import Action, Change, FieldDiff

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime.fromtimestamp(1_700_010_000, UTC)


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def compare(name, lines, look):
    text = "".join(f"{part.plain}\n" for part in lines)
    path = GOLDEN / f"{name}-{look.width}{'' if look.signs == Signs() else '-ascii'}.txt"
    if os.environ.get("STRATA_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def scenes(scene):
    web = [scene.pending(f"web{n}") for n in range(1, 31)]
    many = scene.plan_report(
        *(p for r in web for p in r.parts),
        *scene.harmless("db1").parts,
        *scene.nothing("nas1").parts,
    )
    fleet = scene.plan_report(
        *(p for n in range(1, 31) for p in scene.converged(f"web{n}").parts),
        *scene.failed("db1").parts,
        verb="converge",
        seconds=75.0,
    )
    return {
        "plan": (plan_lines, scene.pending()),
        "plan-nothing": (plan_lines, scene.nothing()),
        "plan-nothing-3": (plan_lines, scene.nothing("a", "b", "c")),
        "plan-blocked": (plan_lines, scene.blocked()),
        "plan-many": (plan_lines, many),
        "converged": (report_lines, scene.converged()),
        "converged-again": (report_lines, replace(scene.nothing(), verb="converge", seconds=0.9)),
        "failed": (report_lines, scene.failed()),
        "fleet": (report_lines, fleet),
    }


NAMES = (
    "plan", "plan-nothing", "plan-nothing-3", "plan-blocked", "plan-many",
    "converged", "converged-again", "failed", "fleet",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_plans_and_reports(name, look, scene):
    render, report = scenes(scene)[name]
    compare(name, render(report, look, scene.TITLES), look)


@pytest.mark.parametrize("name", ["plan", "failed"])
def test_ascii_terminals_get_nothing_else(name, scene):
    look = Look(width=80, signs=ASCII)
    render, report = scenes(scene)[name]
    lines = render(report, look, scene.TITLES)
    compare(name, lines, look)
    assert all(text.plain.isascii() for text in lines)


def test_tables(look, scene):
    compare("status", status_lines(scene.statuses(), look, NOW, scene.TITLES), look)
    compare("history", tables.history_lines(scene.records(), look), look)
    compare("doctor", tables.doctor_lines(scene.findings(), look), look)
    rows = [
        ("machine.disks.data.size", "4GiB", "personas/web.yaml:14:13"),
        ("a", None, "b.yaml:1:1"),
    ]
    compare("show", tables.shown_lines(rows, look), look)


def test_what_is_undeclared(look, scene):
    report = scene.surveyed()
    compare("entropy", entropy_lines(report, look), look)
    compare("entropy-all", entropy_lines(report, look, everything=True), look)
    scored = [replace(scene.statuses()[0], entropy=31, surveyed=1.0), *scene.statuses()[1:]]
    compare("status-scored", status_lines(scored, look, NOW, scene.TITLES), look)


def test_what_was_adopted(look, scene):
    compare("adopted", adopted_lines(scene.adopted(), look, scene.TITLES), look)
    dry = replace(scene.adopted(), plan=None)
    compare("adopted-dry", adopted_lines(dry, look, scene.TITLES), look)


def test_status_says_why_a_host_needs_somebody(look, scene):
    lines = status_lines(scene.uneasy(), look, NOW, scene.TITLES, {"web": "The start page"})
    compare("status-uneasy", lines, look)
    assert max(cell_len(text.plain) for text in lines) <= look.width


def test_status_of_many_hosts_tells_those_that_stand_alike_once(look, scene):
    good = scene.statuses()[0]
    hosts = [replace(good, host=f"web{n}") for n in range(1000)] + scene.statuses()[1:]
    lines = [t.plain for t in status_lines(hosts, look, NOW, scene.TITLES)]
    assert len(lines) < 14
    assert any("1,000 hosts" in text and "converged" in text for text in lines)
    full = status_lines(hosts, replace(look, full=True), NOW, scene.TITLES)
    assert len(full) > 1000


def test_status_puts_those_that_need_somebody_first(look, scene):
    text = "\n".join(t.plain for t in status_lines(scene.uneasy(), look, NOW, scene.TITLES))
    order = ["bad1", "flag1", "cut1", "off1", "drift1", "fine1", "run1"]
    assert [text.index(f"  {name} ") for name in order] == sorted(
        text.index(f"  {name} ") for name in order
    )


def test_status_of_hundreds_of_hosts_in_trouble_stays_short(look, scene):
    (cut,) = (h for h in scene.uneasy() if h.host == "cut1")
    hosts = [replace(cut, host=f"cut{n}") for n in range(300)]
    assert len(status_lines(hosts, look, NOW, scene.TITLES)) < 10


def test_a_graph_in_a_terminal(look, scene):
    lines = graph_lines(scene.drawn(), look)
    compare("graph", lines, look)
    assert max(cell_len(text.plain) for text in lines) <= look.width


def test_every_table_and_tree_fits_its_width(look, scene):
    lines = [
        *status_lines(scene.statuses(), look, NOW, scene.TITLES),
        *tables.history_lines(scene.records(), look),
        *report_lines(scene.failed(), look, scene.TITLES)[:4],
    ]
    assert max(cell_len(text.plain) for text in lines) <= look.width


def test_a_config_error_shows_the_line_and_a_caret(look, tmp_path):
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas/web.yaml").write_text("machine:\n\t  memroy: 1GiB\n" + "x: " + "y" * 300)
    error = ConfigError(
        [
            Problem("personas/web.yaml:2:4", "unknown key 'memroy'; did you mean 'memory'?"),
            Problem("personas/web.yaml:3:250", "far to the right"),
            Problem("personas/web.yaml:99:1", "a line that is gone"),
            Problem("", "no host has tag=wbe"),
        ]
    )
    compare("config-error", problem_lines(error, tmp_path, look), look)


def test_a_drivers_error_shows_command_status_and_last_lines(look):
    error = DriverError(
        "Unable to build the template on web1: mmdebstrap failed.",
        hint="lab doctor",
        command="mmdebstrap --variant=apt trixie out.tar",
        status=25,
        lines=("E: no space left", "W: \x1b[2Jgone"),
    )
    compare("driver-error", error_lines(error, look), look)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 8), (120, 24), (50, 10)])
def test_the_live_tree_fits_the_terminal(scene, width, height):
    board = Board(scene.TITLES)
    events = [
        event
        for n in range(1, 20)
        for event in list(scene.stream(scene.converged(f"web{n}")))[: 19 - n]
    ]
    for event in events:
        board.see(event)
    look = Look(width=width)
    lines = board.picture(look, height, now=1_700_000_030.0)
    assert len(lines) < height
    assert max(cell_len(text.plain) for text in lines) <= width
    compare(f"live-{height}", lines, look)


def test_running_rows_stand_last_and_show_bytes(scene):
    board = Board(scene.TITLES)
    for event in list(scene.stream(scene.converged()))[:8]:
        board.see(event)
    lines = board.picture(Look(width=80), 24, now=1_700_000_014.0)
    assert [part.plain.split()[1] for part in lines[:2]] == ["web1", "web1"]
    assert "as declared" in lines[0].plain
    assert "━━━─────── 40MiB/120MiB" in lines[1].plain
    assert lines[1].plain.endswith("12s")


def test_a_long_diff_is_capped_unless_asked_for_in_full(scene):
    diff = "\n".join(f"+line {n}" for n in range(100))
    change = Change(Action.UPDATE, "file /etc/x", (FieldDiff("content", "a", "b", text=diff),))
    report = scene.plan_report(scene.part("web1", 3, scene.Outcome.PENDING, change))
    short = "\n".join(t.plain for t in plan_lines(report, Look(width=80)))
    assert "80 more lines" in short
    assert "line 99" not in short
    assert "line 99" in "\n".join(t.plain for t in plan_lines(report, Look(width=80, full=True)))


def test_secret_values_are_never_shown(look, scene):
    for full in (False, True):
        text = "\n".join(t.plain for t in plan_lines(scene.pending(), replace(look, full=full)))
        assert "old-secret" not in text
        assert "new-secret" not in text
    created = Change(Action.CREATE, "user x", (FieldDiff("password", None, "s3", secret=True),))
    report = scene.plan_report(scene.part("web1", 3, scene.Outcome.PENDING, created))
    assert "s3" not in "\n".join(t.plain for t in plan_lines(report, look))


def test_ten_thousand_equal_plans_are_one_group(scene):
    report = scene.plan_report(*(p for n in range(10_000) for p in scene.pending(f"web{n}").parts))
    started = time.process_time()
    lines = plan_lines(report, Look(width=80), scene.TITLES)
    took = time.process_time() - started
    text = "\n".join(t.plain for t in lines)
    assert "web0 … web9999 (10,000 hosts)" in text
    assert len(lines) < 60
    assert took < 5


def test_ten_thousand_different_plans_are_cut_short(scene):
    def memory(n):
        field = FieldDiff("memory", f"{n}MiB", f"{n + 1}MiB")
        return Change(Action.UPDATE, "memory", (field,))

    report = scene.plan_report(
        *(scene.part(f"web{n}", 2, scene.Outcome.PENDING, memory(n)) for n in range(10_000)),
        scene.part("db1", 2, scene.Outcome.PENDING, scene.MACHINE),
    )
    lines = plan_lines(report, Look(width=80), scene.TITLES)
    assert lines[1].plain.startswith("  -/+ db1: root disk")
    assert len(lines) < 300
    assert "9,961 more hosts" in "\n".join(t.plain for t in lines)


def test_a_plan_says_what_reverts_by_itself(look):
    change = Change(Action.UPDATE, "file /etc/ssh/sshd_config", disconnects=True, guarded=True)
    lines = [text.plain.strip() for text in change_lines(change, look)]
    assert "guarded: reverts by itself if it cuts us off" in lines
    plain = change_lines(replace(change, guarded=False), look)
    assert "guarded" not in "".join(text.plain for text in plain)

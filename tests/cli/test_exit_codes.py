"""Every exit code that docs/operate.md promises, from the command line's end."""

import json
from pathlib import Path

import click
import pytest

from lab.cli import failures
from lab.errors import (
    ConfigError,
    DeadlineExceeded,
    Destructive,
    DriverError,
    Interrupted,
    LabError,
    Locked,
    NotConverged,
    NotOwned,
    Problem,
    Protected,
    Stale,
    TransportError,
)
from lab.model.outcome import ExitCode

ERRORS = [
    (LabError("x"), 1),
    (DriverError("x"), 1),
    (DeadlineExceeded("x"), 1),
    (NotConverged("x", ["+ file /a"]), 1),
    (ConfigError([Problem("a.yaml:1:1", "x")]), 3),
    (Locked("x"), 4),
    (NotOwned("x"), 5),
    (Destructive("x"), 5),
    (Protected("x"), 5),
    (Stale("x"), 5),
    (TransportError("x"), 6),
    (Interrupted("x"), 130),
    (KeyboardInterrupt(), 130),
    (click.UsageError("x"), 3),
    (RuntimeError("x"), 1),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_has_its_code(lab, run, error, code):
    lab.error = error
    assert run("plan").code == code
    assert run("converge", "--yes").code == code


def test_a_report_has_its_code(lab, run, scene):
    assert run("plan").code == 2
    assert run("verify").code == 2
    assert run("converge", "--yes").code == 0
    lab.planned = scene.nothing()
    assert run("plan").code == 0
    assert run("converge").code == 0
    lab.planned = scene.blocked()
    assert run("plan").code == 5
    lab.done = scene.failed()
    assert run("converge", "--yes").code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["plna"],
        ["plan", "--jsno"],
        ["plan", "hots=web1"],
        ["plan", "web1"],
        ["plan", "l1", "l2"],
        ["plan", "host="],
        ["plan", "--only-this-layer"],
        ["plan", "l2", "--through", "--only-this-layer"],
        ["destroy"],
        ["destroy", "l3", "host=web1"],
        ["show"],
        ["completion", "tcsh"],
        ["converge", "--plan", "plan.json", "host=web1"],
        ["-C", "/nonexistent", "plan"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_told_from_pending_changes(run, words, tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    result = run(*words)
    assert result.code == ExitCode.CONFIG
    assert result.out == ""
    assert "Try: lab" in result.err
    assert "Traceback" not in result.err


def test_the_nearest_word_is_named(run):
    assert "did you mean 'plan'?" in run("plna").err
    assert "did you mean '--json'?" in run("plan", "--jsno").err
    assert "did you mean 'host'?" in run("plan", "hots=web1").err
    assert "host=web1" in run("plan", "web1").err


def test_a_bug_apologises_and_leaves_a_log(lab, run, tmp_path):
    lab.error = RuntimeError("our own fault")
    result = run("plan")
    assert "mistake in Strata" in result.err
    assert "Traceback" not in result.err
    (log,) = (tmp_path / "state/strata/bugs").iterdir()
    assert str(log) in result.err.replace("\n", "")
    assert "our own fault" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_bug_shows_its_traceback_when_asked(lab, run, monkeypatch):
    lab.error = RuntimeError("our own fault")
    assert "Traceback" in run("plan", "--verbose").err
    monkeypatch.setenv("STRATA_DEBUG", "1")
    assert "Traceback" in run("plan").err


def test_errors_are_also_json(lab, run):
    lab.error = ConfigError([Problem("a.yaml:1:2", "wrong")])
    result = run("plan", "--json")
    document = json.loads(result.out.splitlines()[-1])
    assert document["schema"] == "lab.error/1"
    assert document["exit_code"] == 3
    assert document["problems"] == [{"where": "a.yaml:1:2", "what": "wrong"}]


def test_the_documentation_names_every_code():
    text = (Path(__file__).parents[2] / "docs/operate.md").read_text()
    for code in ExitCode:
        assert f"| {int(code)} |" in text


def test_messages_of_hosts_cannot_steer_the_terminal(lab, run):
    lab.error = DriverError("bad \x1b]0;title\x07 [bold]x[/bold]", lines=("\x1b[2J\u202egone",))
    result = run("plan")
    assert "\x1b" not in result.err
    assert "\u202e" not in result.err
    assert "[bold]x[/bold]" in result.err
    assert failures.exit_code(lab.error) == 1

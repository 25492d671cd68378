"""Each command from its words to the library's call and the text that comes back."""

import json
import os
import signal

import pytest

from lab.cli import signals
from lab.model.plan import Plan


def verbs(lab):
    return [name for name, *_ in lab.calls]


def asked(lab, verb):
    return next(args[0] for name, *args in lab.calls if name == verb)


def test_plan_passes_selectors_layer_and_depth(lab, run):
    run("plan", "l3", "host=web1", "tag=a", "--jobs", "3")
    call = asked(lab, "plan")
    assert call == {
        "selectors": ("host=web1", "tag=a"),
        "layer": "l3",
        "through": False,
        "adopt": False,
        "jobs": 3,
    }
    lab.calls.clear()
    run("plan", "host=web1")
    assert asked(lab, "plan")["through"] is True
    lab.calls.clear()
    run("plan", "--through", "l3")
    assert asked(lab, "plan")["through"] is True


def test_plan_on_stdout_hints_on_stderr(run):
    result = run("plan", "host=web1")
    assert "memory: 1GiB → 2GiB" in result.out
    assert result.out.rstrip().endswith("on 1 host.")
    assert "Try: lab converge host=web1" in result.err
    assert "Try" not in run("plan", "--quiet").err


def test_a_plan_is_kept_and_applied_exactly(lab, run, tmp_path):
    path = tmp_path / "today.plan"
    assert run("plan", "--out", str(path)).code == 2
    assert json.loads(path.read_text())["schema"] == "lab.plan/1"
    result = run("converge", "--plan", str(path), answers=["y"])
    assert result.code == 0
    assert "memory: 1GiB → 2GiB" in result.out
    saved = asked(lab, "apply")["saved"]
    assert saved.plans["web1", "l2_instantiate", ""] == Plan((scene_memory(lab),))


def scene_memory(lab):
    return lab.planned.parts[1].plan.changes[0]


def test_a_plan_that_cannot_be_written_is_an_error(run, tmp_path):
    result = run("plan", "--out", str(tmp_path / "no/such/folder/x"))
    assert result.code == 1
    assert "Unable to write the plan" in result.err


def test_a_file_that_is_no_plan_is_refused(run, tmp_path):
    path = tmp_path / "x"
    path.write_text("{}")
    assert "is not a saved plan" in run("converge", "--plan", str(path), "--yes").err


def test_converge_plans_asks_and_applies_exactly_that(lab, run):
    result = run("converge", "host=web1", answers=["y"])
    assert result.code == 0
    assert verbs(lab) == ["plan", "converge", "close"]
    assert "Apply this plan? [y/N]" in result.err
    approval = asked(lab, "converge")["approval"]
    assert approval.only["web1", "l2_instantiate", ""].changes == (scene_memory(lab),)
    assert approval.allow_destroy is False
    assert "Converged: 2 changes on 1 host; web1 is as declared." in result.out
    assert "http://127.0.0.1:18080/" in result.out


def test_converge_answered_no_changes_nothing(lab, run):
    result = run("converge", answers=["n"])
    assert result.code == 5
    assert verbs(lab) == ["plan", "close"]
    assert "Nothing was changed." in result.err


def test_converge_with_a_loss_wants_the_name(lab, run, scene):
    lab.planned = scene.pending()
    assert run("converge", answers=["y", "web2"]).code == 5
    assert "converge" not in verbs(lab)
    assert run("converge", answers=["y", "web1"]).code == 0
    approval = asked(lab, "converge")["approval"]
    assert approval.allow_destroy
    assert approval.confirmed == {"web1"}


def test_converge_yes_goes_straight_on(lab, run):
    assert run("converge", "--yes", "--allow-destroy", "--confirm", "web1").code == 0
    assert verbs(lab) == ["converge", "close"]
    approval = asked(lab, "converge")["approval"]
    assert (approval.allow_destroy, approval.confirmed, approval.only) == (True, {"web1"}, None)


def test_yes_is_not_a_permission_to_destroy(lab, run):
    run("converge", "--yes")
    assert asked(lab, "converge")["approval"].allow_destroy is False


@pytest.mark.parametrize("flags", [[], ["--no-input"]])
def test_converge_without_a_terminal_shows_the_plan_and_refuses(lab, run, flags):
    result = run("converge", *flags, answers=["y"] if flags else None)
    assert result.code == 5
    assert "memory: 1GiB → 2GiB" in result.out
    assert "--yes" in result.err
    assert "converge" not in verbs(lab)


def test_converge_with_nothing_to_do_says_so(lab, run, scene):
    lab.planned = scene.nothing()
    result = run("converge")
    assert result.code == 0
    assert result.out == "0 changes. web1 is as declared.\n"
    assert verbs(lab) == ["plan", "close"]


def test_a_failed_run_names_the_next_command(lab, run, scene):
    lab.done = scene.failed()
    result = run("converge", "--yes")
    assert "Try: lab doctor host=web1" in result.err
    assert "exit status 1" in result.out


def test_destroy_wants_every_name(lab, run):
    assert run("destroy", "host=web1", answers=["web2"]).code == 5
    assert "destroy" not in verbs(lab)
    result = run("destroy", "host=web1", "--with-data", answers=["web1"])
    assert result.code == 0
    call = asked(lab, "destroy")
    assert call["with_data"] is True
    assert call["approval"].confirmed == {"web1"}
    assert "This plan loses, for good:" in result.out


def test_destroy_in_a_script(lab, run):
    result = run("destroy", "host=web1", "--yes")
    assert result.code == 5
    assert "--confirm web1" in result.err
    assert run("destroy", "host=web1", "--yes", "--confirm", "web1").code == 0


def test_destroy_of_nothing_is_fine(lab, run, scene):
    lab.doomed = scene.plan_report(scene.part("web1", 2), verb="destroy")
    assert run("destroy", "--all").code == 0
    assert verbs(lab) == ["plan_destroy", "destroy", "close"]  # only to forget what is gone
    assert lab.calls[1][1]["approval"].only == {}


@pytest.mark.parametrize(
    "words",
    [
        ["plan"],
        ["verify"],
        ["converge", "--yes"],
        ["destroy", "host=web1", "--yes", "--confirm", "web1"],
    ],
    ids=lambda w: w[0],
)
def test_events_and_report_are_json_lines(run, words):
    result = run(*words, "--json")
    lines = [json.loads(text) for text in result.out.splitlines()]
    assert lines[0]["event"] == "run_started"
    assert {e["schema"] for e in lines[:-1]} == {"lab.event/1"}
    assert lines[-1]["schema"] == "lab.report/1"
    assert lines[-1]["exit_code"] == result.code
    assert "secret" not in result.out


def test_secrets_do_not_reach_json(lab, run, scene):
    lab.planned = scene.pending()
    out = run("plan", "--json").out
    assert "old-secret" not in out
    assert '"(secret)"' in out


def test_json_asks_nobody(lab, run):
    result = run("converge", "--json", answers=["y"])
    assert result.code == 5
    assert json.loads(result.out)["kind"] == "PlanError"
    assert lab.calls == [("close",)]


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (["validate"], "lab.validate/1"),
        (["status"], "lab.status/1"),
        (["show", "web1"], "lab.show/1"),
        (["history"], "lab.history/1"),
        (["doctor"], "lab.doctor/1"),
    ],
)
def test_questions_answer_one_json_document(run, words, schema):
    document = json.loads(run(*words, "--json").out)
    assert document["schema"] == schema
    assert document["lab"] == "demo"


def test_validate_counts(run):
    assert run("validate").out.startswith("OK: 1 host, 1 persona (")


def test_show_tells_where(run):
    words = run("show", "web1").out.splitlines()[0].split()
    assert words == ["machine.memory", "1GiB", "personas/web.yaml:12:3"]


def test_doctor_refuses_when_something_fails(lab, run):
    result = run("doctor")
    assert result.code == 5
    assert "Try: apt-get install" in result.out
    lab.doctor = list
    assert run("doctor").code == 0


def test_schema_of_one_of_all_and_into_files(run, tmp_path):
    assert json.loads(run("schema", "persona").out) == {"type": "object"}
    assert set(json.loads(run("schema").out)) == {"persona", "hosts", "lab"}
    assert "did you mean 'persona'" in run("schema", "persna").err
    run("schema", "--out", str(tmp_path / "s"))
    assert (tmp_path / "s/hosts.schema.json").exists()


def test_explain_prints_what_the_library_says(run):
    assert run("explain", "l2").out == "l2: what it is.\n"


def test_autostart_prints_a_unit(run, tmp_path):
    out = run("autostart").out
    assert "converge l2 --yes --no-input" in out
    assert f"--lab {tmp_path}" in out


def test_the_first_signal_asks_the_second_leaves(lab, run, monkeypatch):
    left = []
    monkeypatch.setattr(signals, "leave_at_once", lambda: left.append(True))

    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        assert lab.cancelled
        assert not left
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    lab.during = interrupted
    result = run("converge", "--yes")
    assert left == [True]
    assert "stopping after the current step" in result.err
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_plan_goes_no_further(lab, run):
    lab.during = lambda: os.kill(os.getpid(), signal.SIGINT)
    result = run("converge", answers=["y"])
    assert result.code == 130
    assert verbs(lab) == ["plan", "close"]


def test_plain_lines_where_nothing_can_be_redrawn(lab, run):
    err = run("converge", "--yes").err
    assert "web1 l1_image: + template debian-13-0a1b2c3d4e5f" in err
    assert "web1 l1_image: unpacking base-files… 40MiB/120MiB" in err
    assert "web1 l1_image debian: 1 change, 38s" in err
    assert "\x1b" not in err


def test_plain_progress_comes_every_ten_seconds_at_most(scene):
    from lab.cli.text.plain import Plain
    from lab.events import Progress

    plain = Plain()
    told = [
        text
        for at in range(100)
        for text in plain.lines(Progress(float(at), "web1", "l1_image", "", "unpacking", at))
    ]
    assert len(told) == 9

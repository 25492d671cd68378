"""``lab status``, ``lab metrics``, ``lab graph``: exit codes, files, JSON."""

import json
import os
import stat
import xml.etree.ElementTree as ET

import pytest

from lab.cli import main


def test_status_ends_with_2_where_something_needs_somebody(lab, run, scene):
    assert run("status").code == 2
    lab.status = lambda: [scene.uneasy()[0]]
    assert run("status").code == 0
    for host in scene.uneasy()[1:-2]:
        lab.status = lambda one=host: [one]
        assert run("status", "--json").code == 2, host.host


def test_status_as_json_has_words_and_utc_times(lab, run, scene):
    lab.status = scene.uneasy
    said = json.loads(run("status", "--json").out)
    assert said["schema"] == "lab.status/1"
    by_name = {h["host"]: h for h in said["hosts"]}
    late = by_name["late1"]
    assert late["standing"] == "converged"
    assert (late["behind"], late["unsafe"], late["needs_attention"]) == (False, True, True)
    assert late["captures"][0]["due"] == "2023-11-12T22:13:20+00:00"
    assert late["drill"]["proved_at"].endswith("+00:00")
    assert by_name["run1"]["standing"] == "running"
    assert by_name["run1"]["running"]["command"] == "lab converge host=run1"
    assert by_name["off1"]["layers"][2]["since"].startswith("2023-11-13T")


def test_metrics_go_to_stdout_or_whole_into_a_file_that_others_can_read(run, tmp_path):
    printed = run("metrics")
    assert printed.code == 0
    assert printed.out.startswith("# HELP strata_lab_info")
    out = tmp_path / "strata.prom"
    out.write_text("the one before")
    os.umask(os.umask(0o077))
    assert run("metrics", "--out", str(out)).code == 0
    assert out.read_text() == printed.out
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.glob("*prom*")] == ["strata.prom"]
    assert not list(tmp_path.glob(".strata*"))


def test_a_folder_that_is_not_there_is_an_error_with_its_remedy(run, tmp_path):
    result = run("metrics", "--out", str(tmp_path / "no/strata.prom"))
    assert result.code == 1
    assert "Unable to write" in result.err
    assert "mkdir -p" in result.err


def test_what_cannot_be_replaced_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "taken.svg").mkdir()
    result = run("graph", "--format", "svg", "--out", str(tmp_path / "taken.svg"))
    assert result.code != 0
    assert not list(tmp_path.glob(".taken*"))


@pytest.mark.parametrize(
    ("name", "begins"), [("a.svg", "<svg "), ("a.mmd", "%% demo"), ("a.md", "```mermaid")]
)
def test_the_files_ending_says_what_is_drawn(run, tmp_path, name, begins):
    assert run("graph", "--out", str(tmp_path / name)).code == 0
    assert (tmp_path / name).read_text().startswith(begins)


def test_an_ending_that_says_nothing_needs_a_format(run, tmp_path):
    result = run("graph", "--out", str(tmp_path / "lab.png"))
    assert result.code == 3
    assert "--format" in result.err
    assert run("graph", "--format", "text", "--out", str(tmp_path / "lab.txt")).code == 0
    assert "web1" in (tmp_path / "lab.txt").read_text()


def test_a_graph_as_json_and_on_stdout(run):
    said = json.loads(run("graph", "--json").out)
    assert said["schema"] == "lab.graph/1"
    assert said["hosts"][1]["after"] == ["web1"]
    assert said["hosts"][0]["things"][1]["of"] == "start"
    assert ET.fromstring(run("graph", "--format", "svg").out).tag.endswith("svg")
    assert "web1" in run("graph").out


def test_formats_are_completed():
    made = main.cli.get_command(None, "graph")
    (kind,) = (p for p in made.params if p.name == "kind")
    offered = kind.type.shell_complete(None, kind, "m")
    assert [item.value for item in offered] == ["mermaid"]

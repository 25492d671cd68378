"""The words of following git: each command inside the group is told and parses as the others do."""

import re

import click
import pytest

from lab.cli import main
from lab.cli.gitwords import TABLE, gitops


@pytest.mark.parametrize("name", TABLE)
def test_every_command_inside_has_its_line_and_examples_that_parse(name):
    made = gitops.get_command(click.Context(gitops), name)
    assert made.short_help == TABLE[name][1]
    examples = made.help.partition("Examples:\n")[2].splitlines()
    assert examples
    for example in examples:
        words = re.split(r"\s{2,}", example.strip())[0].split()
        assert words[:3] == ["lab", "gitops", name]
        known = [w for w in words[3:] if w not in {"--signers", "~/signers"}]
        made.make_context(name, known, obj=main.Settings())


def test_a_lab_that_follows_nothing_says_how_to_begin(tmp_path, run):
    result = run("gitops", "status", "--name", "nowhere")
    assert result.code == 1
    assert "Try: lab gitops install" in result.err


def test_outside_of_a_lab_the_name_is_asked_for(run):
    result = run("gitops", "status")
    assert result.code == 3
    assert "--name NAME" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("try", "idea"),
        ("try", "host=web1"),
        ("try", "a", "b", "host=web1"),
        ("try", "idea", "host=web1", "--for", "0s"),
        ("try", "idea", "host=web1", "--for", "1w", "--keep"),
        ("try", "--keep", "--revert", "host=web1"),
    ],
)
def test_a_trial_that_cannot_be_meant_is_refused(run, words):
    assert run(*words, "--name", "home").code == 3


def test_plan_against_keeps_no_file(run):
    assert run("plan", "--against", "main", "--out", "x").code == 3

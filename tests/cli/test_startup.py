"""Help is quick, complete and true."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lab.cli import main, reference
from lab.cli.main import TABLE, cli

HEAVY = ("pydantic", "rich", "yaml", "jinja2", "lab.api", "lab.engine", "lab.config", "layers")


@pytest.mark.parametrize("words", [["--help"], ["plan", "--help"], ["completion", "bash"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys; from lab.cli.main import run; code = run(sys.argv[1:]);"
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules];"
        "print('LOADED', loaded, code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"


def command(name):
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", TABLE)
def test_every_command_has_its_line_and_examples(name):
    made = command(name)
    assert made.short_help == TABLE[name][1]
    assert "\b\nExamples:\n  lab " in made.help


@pytest.mark.parametrize("name", TABLE)
def test_every_example_parses(name, tmp_path, monkeypatch):
    (tmp_path / "key.txt").touch()
    monkeypatch.chdir(tmp_path)
    made = command(name)
    files = {"-C", "~/lab", "--plan", "today.plan", "--out"}
    examples = made.help.partition("Examples:\n")[2].splitlines()
    for example in examples:
        words = re.split(r"\s{2,}|[|>]", example.strip())[0].split()[1:]
        assert words[0] == name
        made.make_context(name, [w for w in words[1:] if w not in files], obj=main.Settings())


def test_no_words_at_all_show_the_help(run):
    result = run()
    assert result.code == 0
    assert "Start here:" in result.out


def test_version(run):
    assert re.match(r"lab \d+\.\d+", run("--version").out)


def test_flags_count_before_and_after_the_command(lab, run):
    assert run("--quiet", "plan").err == ""
    assert run("plan", "--quiet").err == ""


def test_the_reference_is_generated_from_the_commands():
    path = Path(__file__).parents[2] / "docs/cli.md"
    assert path.read_text() == reference.document(), "python -m lab.cli.reference > docs/cli.md"

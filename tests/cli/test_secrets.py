"""``lab secrets``: words, questions, exit codes; values go only where they were asked for."""

import getpass
import io
import json
import sys

import click
import pytest

from lab import masking
from lab.cli import main, names
from lab.cli.main import cli
from lab.cli.secrets import HASHES, KINDS, TABLE
from lab.secrets import generate

FILES = {
    "lab.yaml": "name: demo\nproviders: {box: {kind: memory}}\n",
    "personas/web.yaml": "image: {base: debian-13}\n"
    "machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}\n"
    "vars: {db: !secret db_password}\nsystem: {packages: [curl]}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
}
VALUE = "hunter2hunter2"


@pytest.fixture
def lab(lab_dir, monkeypatch, tmp_path_factory):
    """A lab of memory hosts, and a person without any key."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "c"))
    for name in ("SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    root = lab_dir(FILES)
    monkeypatch.chdir(root)
    masking.forget()
    yield root
    masking.forget()


@pytest.fixture
def call(lab, monkeypatch, capsys):
    """Run ``lab secrets …``; ``stdin`` is a pipe, ``typed`` a person at a terminal."""

    def run(*args, stdin=None, typed=None, words=("secrets",)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin or ""))
        if typed is not None:
            answers = iter(typed)
            monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
            monkeypatch.setenv("TERM", "dumb")
            monkeypatch.setattr(getpass, "getpass", lambda *_, **__: next(answers))
        masking.forget()  # every command is a process of its own
        code = main.run([*words, *args])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_from_nothing_to_a_lab_that_converges(call, lab):
    code, _, err = call(words=("validate",))
    assert (code, "lab secrets init" in err) == (3, True)
    assert call("doctor")[0] == 5
    assert call("init")[0] == 0
    assert call("set", "db_password", stdin=f"{VALUE}\n")[0] == 0
    assert call(words=("validate",))[0] == 0
    assert call("doctor")[0] == 0
    assert call(words=("converge", "--yes", "-q"))[0] == 0
    assert call(words=("plan", "-q"))[0] == 0
    assert "(secret db_password)" in call("web1", words=("show",))[1]
    assert VALUE not in "".join(p.read_text() for p in (lab / "secrets").rglob("*.yaml"))


def test_a_value_is_printed_only_when_it_is_asked_for(call):
    call("init")
    call("set", "db_password", stdin=f"{VALUE}\n")
    for args in (["get", "db_password"], ["list"], ["get", "db_password", "--json"], ["doctor"]):
        assert VALUE not in "".join(map(str, call(*args)))
    assert call("get", "db_password", "--reveal") == (0, VALUE, "")
    code, out, _ = call("get", "db_password", "--reveal", "--json")
    assert (code, VALUE in out) == (1, False)


def test_a_value_is_typed_twice_without_being_seen(call):
    call("init")
    assert call("set", "db_password", typed=[VALUE, VALUE])[0] == 0
    assert call("get", "db_password", "--reveal")[1] == VALUE
    code, _, err = call("set", "db_password", typed=[VALUE, "other"])
    assert (code, "not the same" in err) == (1, True)
    assert call("set", "db_password", "--no-input", typed=[])[0] == 5
    assert call("set", "db_password", stdin="")[0] == 1


@pytest.mark.parametrize(
    ("given", "kept"), [("x-y-z\n", "x-y-z"), ("x-y-z", "x-y-z"), ("a\nb\n", "a\nb\n")]
)
def test_a_line_loses_its_end_and_a_file_keeps_it(call, given, kept):
    call("init")
    call("set", "db_password", stdin=given)
    assert call("get", "db_password", "--reveal")[1] == kept


def test_a_value_never_comes_as_a_word(call):
    call("init")
    code, _, err = call("set", "db_password", VALUE)
    assert (code, "unexpected extra argument" in err) == (3, True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_once(call, kind):
    call("init")
    first = call("generate", "made", "--kind", kind, "--json", stdin="some password\n")
    body = json.loads(first[1])
    assert (first[0], body["made"], body["file"]) == (0, True, "secrets/made.yaml")
    assert bool(body["public"]) == (kind in {"ssh-key", "wireguard", "age"})
    value = call("get", "made", "--reveal")[1]
    again = json.loads(call("generate", "made", "--kind", kind, "--json", stdin="other\n")[1])
    assert (again["made"], again["public"]) == (False, body["public"])
    assert call("get", "made", "--reveal")[1] == value


def test_the_words_of_the_command_are_those_of_the_library():
    assert (KINDS, HASHES) == (generate.KINDS, generate.HASHES)


def test_rotating_converges_what_used_it(call):
    call("init")
    call("generate", "db_password")
    call(words=("converge", "--yes", "-q"))
    before = call("get", "db_password", "--reveal")[1]
    code, out, _ = call("rotate", "db_password", "--yes")
    assert (code, "web1" in out) == (0, True)
    assert call("get", "db_password", "--reveal")[1] != before
    assert before not in out


def test_rotating_begins_nothing_that_it_cannot_finish(call):
    call("init")
    call("generate", "db_password")
    before = call("get", "db_password", "--reveal")[1]
    code, _, err = call("rotate", "db_password")
    assert (code, "--no-converge" in err) == (5, True)
    assert call("get", "db_password", "--reveal")[1] == before
    code, _, err = call("rotate", "db_password", "--no-converge")
    assert (code, "lab converge host=web1" in err) == (0, True)


def test_rotating_asks_for_what_was_given(call):
    call("init")
    call("set", "db_password", stdin=VALUE)
    assert call("rotate", "db_password", "--no-converge", stdin="another-value\n")[0] == 0
    assert call("get", "db_password", "--reveal")[1] == "another-value"


def test_rotating_wants_a_name_or_keys(call):
    assert call("rotate")[0] == 3
    assert call("rotate", "x", "--keys")[0] == 3
    call("init")
    call("generate", "db_password")
    assert "secrets/db_password.yaml" in call("rotate", "--keys")[1]


def test_what_is_used_and_missing_is_listed_and_made(call):
    code, out, err = call("list")
    assert code == 0
    assert "db_password  (not there)  web1" in out
    assert "lab secrets set db_password" in err
    body = json.loads(call("list", "--json")[1])
    assert body["schema"] == "lab.secrets/1"
    assert body["secrets"][0]["hosts"] == ["web1"]


def test_a_secret_that_nothing_uses_goes(call):
    call("init")
    call("set", "old", stdin=VALUE)
    assert call("remove", "old")[0] == 0
    assert call("remove", "old")[0] == 1
    call("generate", "db_password")
    code, _, err = call("remove", "db_password")
    assert (code, "web1 uses it" in err) == (1, True)


def test_editing_needs_a_terminal(call):
    call("init")
    assert call("edit")[0] == 5


def test_editing_by_name_opens_the_file_it_stands_in(call, lab, monkeypatch, tmp_path):
    call("init")
    call("set", "db_password", stdin=VALUE)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/hunter2hunter2/edited-value/" "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    code, out, _ = call("edit", "db_password", typed=[])
    assert (code, out) == (0, "Wrote secrets/db_password.yaml\n")
    assert call("get", "db_password", "--reveal")[1] == "edited-value"
    assert call("edit", typed=[])[1] == "Nothing was changed.\n"


def test_findings_as_json(call):
    body = json.loads(call("doctor", "--json")[1])
    assert body["schema"] == "lab.doctor/1"
    assert body["findings"][0]["hint"] == "lab secrets init"


@pytest.mark.parametrize("name", TABLE)
def test_every_command_has_its_line_and_examples_that_parse(name):
    group = cli.get_command(click.Context(cli), "secrets")
    made = group.get_command(click.Context(group), name)
    assert made.short_help == TABLE[name][1]
    examples = made.help.partition("Examples:\n")[2].splitlines()
    assert examples
    for example in examples:
        words = example.rpartition("lab secrets ")[2].split("|")[0].split("<")[0].split()
        assert words[0] == name
        made.make_context(name, words[1:], obj=main.Settings())


def test_names_are_completed_from_the_files_alone(call, lab):
    call("init")
    for file in ("a.yaml", "b.json", "c.env"):
        call("set", f"in_{file[0]}", "--file", file, stdin=VALUE)
    assert set(names.secrets(None)) >= {"in_a", "in_c"}
    (lab / "secrets/broken.yaml").write_text("a: [")
    assert "in_a" in names.secrets(None)
    assert not any(n.startswith("sops") for n in names.secrets(None))


def test_an_unknown_word_gets_the_nearest_one(call):
    code, _, err = call("genrate")
    assert (code, "did you mean 'generate'" in err) == (3, True)


def test_no_word_at_all_shows_the_help(call):
    code, out, _ = call()
    assert (code, "lab secrets init" in out) == (0, True)

"""Colours, signs and streams: what the environment and the flags decide."""

import io
import subprocess
import sys

import pytest

from lab.cli.options import Settings
from lab.cli.terminal import Screen, console
from lab.cli.text.look import clean, line


class Tty(io.StringIO):
    def isatty(self):
        return True


def coloured(monkeypatch, stream, color="auto", **env):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    console(stream, Settings(color=color)).lines([line(("x", "red"))])
    return "\x1b[31m" in stream.getvalue()


def test_colours_follow_terminal_flag_and_environment(monkeypatch):
    assert coloured(monkeypatch, Tty())
    assert not coloured(monkeypatch, io.StringIO())
    assert not coloured(monkeypatch, Tty(), NO_COLOR="1")
    assert coloured(monkeypatch, Tty(), NO_COLOR="")
    assert not coloured(monkeypatch, Tty(), TERM="dumb")
    assert not coloured(monkeypatch, Tty(), color="never")
    assert coloured(monkeypatch, io.StringIO(), color="always")
    assert coloured(monkeypatch, Tty(), color="always", NO_COLOR="1")


def test_a_dumb_or_missing_terminal_is_never_redrawn(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert Screen(Settings(), io.StringIO(), Tty()).live
    assert not Screen(Settings(quiet=True), io.StringIO(), Tty()).live
    assert not Screen(Settings(), io.StringIO(), io.StringIO()).live
    monkeypatch.setenv("TERM", "dumb")
    assert not Screen(Settings(), io.StringIO(), Tty()).live


def test_signs_are_ascii_where_the_encoding_is():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    assert Screen(Settings(), narrow, narrow).look.signs.arrow == "->"
    wide = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert Screen(Settings(), wide, wide).look.signs.arrow == "→"


def test_long_words_are_neither_wrapped_nor_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    path = "/home/me/" + "x" * 200
    console(out, Settings()).lines([line("see ", path)])
    assert out.getvalue() == f"see {path}\n"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\tb", "a    b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\x0db"),
        ("\u202eabc", "\\u202eabc"),
        ("ümläut 漢字", "ümläut 漢字"),
        ("[bold]", "[bold]"),
    ],
)
def test_control_characters_are_shown_not_sent(given, shown):
    assert clean(given) == shown


def test_a_reader_that_leaves_is_no_error():
    script = f"{sys.executable} -m lab.cli plan --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_the_rest_of_the_run_goes_on_without_its_reader():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    out = console(Gone(), Settings())
    out.lines([line("x")])
    out.lines([line("y")])
    assert out.quiet

"""A canary is found in no sink, however it is written; and the search itself can find one."""

import base64
import contextlib
import dataclasses
import html
import json
import re
import shlex
import subprocess
import sys
import textwrap
import time
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import events, masking
from lab.api import SavedPlan
from lab.cli import failures, main
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.terminal import Screen
from lab.cli.text.look import Look, clean, clean_lines, fit, line, prose
from lab.cli.text.plain import Plain
from lab.cli.text.plans import plan_lines
from lab.clients import process
from lab.clients.shell import Reply
from lab.engine.record import failure_of
from lab.errors import ConfigError, DriverError, LabError, NotConverged, Problem
from lab.journal import Journal
from lab.model.outcome import Failure, Outcome, PartReport, RunReport
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan

CANARIES = {
    "plain": "Kanarienvogel42",
    "signs": "p&ss<w>'o\"r`d $HOME/\\x;|%41+=",
    "unicode": "grün-漢字-🔑-pass",
    "lines": "-----BEGIN KEY-----\nAAAAB3NzaC1yc2E\nq8+/Zz9fLongerLine\n-----END KEY-----\n",
    "short": "k7Q!",
}


def b64(text, before=b"", after=b""):
    return base64.b64encode(before + text.encode() + after).decode()


ENCODINGS = {
    "as it is": lambda t: t,
    "in a sentence": lambda t: f"the password {t} is wrong",
    "base64": b64,
    "base64 after one": lambda t: b64(t, b"u"),
    "base64 after two": lambda t: b64(t, b"u:"),
    "basic authentication": lambda t: "Authorization: Basic " + b64(t, b"user:", b"@x"),
    "base64 for URLs": lambda t: base64.urlsafe_b64encode(t.encode()).decode().rstrip("="),
    "wrapped base64": lambda t: "\n".join(textwrap.wrap(b64(t), 64)),
    "URL": lambda t: f"https://u:{urllib.parse.quote(t, safe='')}@host/",
    "URL, slashes kept": urllib.parse.quote,
    "URL, small": lambda t: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(t, safe="")),
    "form": urllib.parse.quote_plus,
    "JSON": json.dumps,
    "JSON, unicode": lambda t: json.dumps(t, ensure_ascii=False),
    "JSON in JSON": lambda t: json.dumps(json.dumps({"a": t})),
    "shell": shlex.quote,
    "shell, joined": lambda t: shlex.join(["echo", t, "x y"]),
    "shell, backslashes": lambda t: re.sub(r"([^\w@%+=:,./-])", r"\\\1", t),
    "python": repr,
    "HTML": html.escape,
    "hex": lambda t: t.encode().hex(),
    "hex, large": lambda t: t.encode().hex().upper(),
    "hex dump": lambda t: t.encode().hex(" "),
}  # fmt: skip


def gives_away(text, canary):
    """Whether the canary is in the text in any form: an independent search."""
    if any(form(canary).strip("'\"") in text for name, form in ENCODINGS.items() if name in ALONE):
        return True
    words = "".join(c if c.isalnum() or c in "+/-_=" else " " for c in text).split()
    for word in words:
        for start in range(4):
            cut = word[start:].rstrip("=").replace("-", "+").replace("_", "/")
            cut = cut[:-1] if len(cut) % 4 == 1 else cut
            with contextlib.suppress(ValueError):
                raw = base64.b64decode(cut + "=" * (-len(cut) % 4))
                if canary.encode()[:24] in raw:
                    return True
    return False


ALONE = {"as it is", "base64", "URL, slashes kept", "form", "JSON", "shell", "python", "hex"}
SEARCHED = ALONE | {"base64 after one", "base64 after two", "basic authentication"}


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_search_finds_what_is_not_masked(canary, encoding):
    written = ENCODINGS[encoding](CANARIES[canary])
    assert encoding not in SEARCHED or gives_away(written, CANARIES[canary])


@pytest.fixture(autouse=True)
def _fresh():
    masking.forget()
    yield
    masking.forget()


def report(text):
    change = Change(
        Action.UPDATE, f"file {text}", (FieldDiff("a", text, [text], text=text),
        FieldDiff("b", text, text, secret=True)), reason=text, destroys=text, interrupts=text,
    )  # fmt: skip
    plan = Plan((change,), (Blocker(text, text, text),), notes=(text,))
    failure = Failure("X", text, text, command=text, lines=(text,))
    part = PartReport("web1", "l3_system", "", "native", Outcome.FAILED, plan, (text,), failure)
    return RunReport("plan", "r", (part,), {"web1": {"url": text}}, notes=(text,))


def screen_text(capsys, show):
    show(Screen(Settings()))
    out, err = capsys.readouterr()
    return out + err


def _journal(text, tmp_path):
    journal = Journal(tmp_path)
    journal.begin_run("r", "plan", ["web1"], None)
    journal.begin_change("r", ("web1", "l3", ""), "create", f"file {text}")
    journal.end_part("r", report(text).parts[0], "x")
    journal.close()
    return "".join(p.read_bytes().decode(errors="replace") for p in tmp_path.glob("journal.db*"))


def _bug(text, tmp_path):
    error = KeyError(text)
    error.__cause__ = ValueError(text)
    failures.tell(error, Settings(verbose=True))
    return "".join(p.read_text() for p in Path(tmp_path, "state").rglob("*.log"))


def _thread(text, tmp_path):
    failures.thread_ended(
        type("Args", (), {"exc_value": ValueError(text), "exc_type": ValueError})()
    )
    return "".join(p.read_text() for p in Path(tmp_path, "state").rglob("*.log"))


def _errors(text, tmp_path):
    error = DriverError(text, hint=text, command=text, lines=[text])
    more = NotConverged(text, [text], hint=text)
    config = ConfigError([Problem("a:1:1", text)])
    failed = failure_of(error)
    return repr([str(error), error.args, error.lines, error.command, str(more), more.remaining,
                 str(config), str(LabError(text)), dataclasses.astuple(failed)])  # fmt: skip


def _child(text, tmp_path):
    lines = []
    script = "import sys; sys.stderr.write(sys.argv[1]); sys.stderr.write(chr(10)); sys.exit(1)"
    with pytest.raises(DriverError) as caught:
        process.run([sys.executable, "-c", script, text], doing="try it", on_line=lines.append)
    return f"{caught.value} {caught.value.lines} {caught.value.command} {lines}"


def _saved(text, tmp_path):
    plans = {("web1", "l3_system", ""): report(text).parts[0].plan}
    SavedPlan("demo", None, True, False, ("web1",), plans, "s").write(tmp_path / "plan")
    return (tmp_path / "plan").read_text()


def _events(text, tmp_path):
    part = report(text).parts[0]
    stream = [
        events.Progress(1.0, "web1", "l3", "", text), events.Notice(1.0, text),
        events.PartEnded(1.0, part), events.RunEnded(1.0, report(text)),
        events.PartPlanned(1.0, "web1", "l3", "", part.plan),
        events.ChangeStarted(1.0, "web1", "l3", "", part.plan.changes[0], 1, 1),
    ]  # fmt: skip
    return json.dumps([events.to_json(e) for e in stream])


def _lines(text, tmp_path):
    look = Look(width=60)
    plain = Plain(look.signs)
    shown = [*plan_lines(report(text), look), *plan_lines(report(text), Look(width=60, full=True))]
    shown += [line(text), line((text, "red")), *prose(text, look, 4), line(fit(text * 3, 20))]
    told = [clean(text), *clean_lines(text), *plain.lines(events.Notice(1.0, text))]
    return "\n".join([*(t.plain for t in shown), *told])


SINKS = {
    "journal": _journal,
    "bug and its log": _bug,
    "a thread that ended": _thread,
    "errors": _errors,
    "child process": _child,
    "saved plan": _saved,
    "events": _events,
    "lines of the command line": _lines,
    "shell's last lines": lambda text, _: repr(Reply(1, b"", text.encode()).lines),
}


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_sink_gives_a_canary_away(sink, encoding, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for number, canary in enumerate(CANARIES.values()):
        masking.hide(canary, "bird")
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        out = SINKS[sink](ENCODINGS[encoding](canary), folder) + "".join(capsys.readouterr())
        assert "(secret bird)" in out
        assert not gives_away(out, canary), out


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_neither_the_screen_nor_json_gives_a_canary_away(encoding, capsys):
    for canary in CANARIES.values():
        masking.hide(canary, "bird")
        text = ENCODINGS[encoding](canary)

        def show(screen, text=text):
            from rich.text import Text

            screen.show([Text(text)])
            screen.say(line(text))
            write_json(screen, {"a": [text], "b": {text: 1}, "c": Path(text)})
            failures.tell(LabError(text, hint=text), Settings(json=True))

        out = screen_text(capsys, show)
        assert not gives_away(out, canary), out


def test_a_run_that_fails_gives_nothing_away(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    masking.hide("Kanarienvogel42", "bird")

    def broken(*_, **__):
        raise RuntimeError("Kanarienvogel42")

    monkeypatch.setattr(main.cli, "main", broken)
    assert main.run(["plan"]) == 1
    out = "".join(capsys.readouterr())
    out += "".join(p.read_text() for p in tmp_path.rglob("*.log"))
    assert "RuntimeError" in out
    assert "Kanarienvogel42" not in out


def test_half_a_canary_is_not_left_by_cutting(capsys):
    masking.hide("Kanarienvogel42", "bird")
    assert fit("x Kanarienvogel42", 10) == "x (secret…"


def test_a_line_of_a_canary_in_several_lines_is_masked_alone():
    masking.hide(CANARIES["lines"], "key")
    assert masking.mask("AAAAB3NzaC1yc2E") == "(secret key)"
    assert masking.mask("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pin 137", "pin (secret pin)"),
        ("1370 13.7 x137", "1370 13.7 x137"),
        ("=137;", "=(secret pin);"),
    ],
)
def test_a_short_value_is_masked_where_it_stands_alone(text, shown):
    masking.hide("137", "pin")
    assert masking.mask(text) == shown


def test_a_single_character_hides_nothing():
    masking.hide("1", "pin")
    assert masking.mask("1 change") == "1 change"


def test_masking_keeps_json_whole():
    masking.hide('a"b\\c', "x")
    body = {"schema": "x/1", "text": 'say a"b\\c now', "n": 1, "none": None}
    assert masking.masked(body) == {**body, "text": "say (secret x) now"}


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=4, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_masked_in_any_form(value, before, after):
    masking.forget()
    masking.hide(value, "it")
    for form in (json.dumps, shlex.quote, urllib.parse.quote, repr, str):
        try:
            written = form(value)
        except UnicodeEncodeError:
            continue
        if value not in before + after and len(written) >= 4:
            assert "(secret it)" in masking.mask(f"{before}{written}{after}")


def test_nothing_hidden_costs_nothing():
    text = "x" * 1000
    started = time.perf_counter()
    for _ in range(100_000):
        masking.mask(text)
    assert time.perf_counter() - started < 0.5
    assert masking.masked(document := {"a": [1]}) is document


def test_thirty_secrets_cost_little():
    for number in range(30):
        masking.hide(f"secret-value-number-{number:04}", f"s{number}")
    lines = [f"line {n} of some output of a program" for n in range(2000)]
    started = time.process_time()
    for text in lines:
        masking.mask(text)
    assert time.process_time() - started < 0.2


def test_the_registry_belongs_to_the_process():
    code = "from lab import masking; print(masking.mask('Kanarienvogel42'))"
    masking.hide("Kanarienvogel42", "bird")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Kanarienvogel42\n"

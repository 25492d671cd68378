"""Timers for captures and drills, and what is late told by an exit code."""

import json
import time

from lab.model.recovered import DrillRecord

DAY = 86400.0


def declared(made, lifecycle):
    path = made.root / "personas/p.yaml"
    text = path.read_text().replace("lifecycle: {", f"lifecycle: {{{lifecycle}, ")
    path.write_text(text)


def drilled(made, days, *, proved):
    with made.lab() as lab:
        lab.captures.journal.keep_drill(
            DrillRecord("me", time.time() - days * DAY, proved, 60.0, 60.0, 0, "drills/x.json")
        )


def test_what_is_declared_gets_its_timer(here):
    made = here()
    declared(made, "capture: daily, drill: 30d")
    shown = made.run("schedule", "show").stdout
    for name in ("strata-here-capture-me", "strata-here-drill-me", "strata-here-captures"):
        assert f"# {name}.service" in shown
        assert f"# {name}.timer" in shown
    assert "drill host=me --color never --quiet" in shown
    assert "*-*-01 03:" in shown, "a month is a month, not a week"


def test_a_drill_that_is_older_than_the_persona_allows_is_an_error(here):
    made = here()
    declared(made, "drill: 30d")
    drilled(made, 40, proved=True)
    done = made.run("schedule", "status", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["drills_overdue"] == ["me"]
    text = made.run("schedule", "status")
    assert "me: its drill is overdue" in text.stdout
    assert "lab drill host=me" in text.stdout + text.stderr
    drilled(made, 10, proved=True)
    assert made.run("schedule", "status", "--json").returncode == 2, "only the timers lack"

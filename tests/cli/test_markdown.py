"""A plan as a comment: nothing in it can act as Markdown, and it fits."""

from dataclasses import replace

import pytest

from lab.cli.text.look import Look
from lab.cli.text.markdown import LONGEST, plan_markdown
from lab.gitops.against import Comparison
from lab.gitops.touched import Touched
from lab.model.outcome import Outcome
from lab.model.plan import FieldDiff

FOUND = Comparison("1a2b3c4d5e6f", Touched(changed=("web1",), same=2))


def shown(scene, text):
    field = FieldDiff("content", "a", "b", text=text)
    change = replace(scene.MOTD, fields=(field,))
    report = scene.plan_report(scene.part("web1", 3, Outcome.PENDING, change))
    return plan_markdown(FOUND, report, Look(width=80), scene.TITLES)


@pytest.mark.parametrize("ticks", [3, 4, 9])
def test_the_block_cannot_be_ended_from_inside(scene, ticks):
    comment = shown(scene, "`" * ticks + "\n+# a heading")
    fence = "`" * (ticks + 1)
    assert f"\n{fence}text\n" in comment
    assert comment.rstrip().endswith(f"\n{fence}")


def test_a_long_plan_is_folded_away_and_cut_to_what_forges_take(scene):
    comment = shown(scene, "\n".join("+" + "x" * 100 for _ in range(2000)))
    assert "<details><summary>" in comment
    assert len(comment) < LONGEST + 1000
    assert "more lines: lab plan --against" in comment


def test_what_is_lost_cannot_act_as_markdown(scene):
    change = replace(scene.MACHINE, destroys="disk </details> [x](http://evil) **b**")
    report = scene.plan_report(scene.part("web1", 2, Outcome.PENDING, change))
    comment = plan_markdown(FOUND, report, Look(width=80), scene.TITLES)
    outside = comment.partition("```text")[0]
    assert r"\<\/details\>" in outside or r"\</details\>" in outside
    assert r"\[x\]\(http" in outside

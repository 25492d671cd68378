"""A plan as Markdown, for a pull request: what is lost first, the details folded away."""

from __future__ import annotations

import re

from lab.cli.approval import losing
from lab.cli.text.groups import hosts_of
from lab.cli.text.look import Look, clean, plural
from lab.cli.text.plans import plan_lines, summary
from lab.gitops.against import Comparison
from lab.model.outcome import RunReport

LONGEST = 60_000
"""Characters of details: forges take about 65,000 in a comment."""

OPEN_UP_TO = 60
"""Lines of details that are not folded away."""


def plan_markdown(
    comparison: Comparison, report: RunReport | None, look: Look, titles: dict[str, str]
) -> str:
    """The whole comment. ``report`` is ``None`` where no host is touched."""
    found = comparison.touched
    against = f"`{comparison.commit[:12]}`"
    if report is None:
        head = f"### No host is touched\n\nCompared with {against}."
        return f"{head}{_removed(comparison)}\n"
    count = plural(len(found.hosts), "host")
    parts = [
        f"### {count} touched: {_text(hosts_of(found.hosts, look))}",
        f"Compared with {against}; {plural(found.same, 'other')} as before.",
        summary(report).plain,
    ]
    if not comparison.is_readable:
        parts.append("That commit is not a valid lab, so every host counts as new.")
    lost = losing(report)
    if lost:
        rows = [f"> - **{_text(h)}** loses {_text(', '.join(what))}" for h, what in lost.items()]
        parts.append("\n".join(["> [!CAUTION]", "> Lost for good once this is approved:", *rows]))
    parts.append(_details([t.plain.rstrip() for t in plan_lines(report, look, titles)]))
    return "\n\n".join(parts) + _removed(comparison) + "\n"


def _removed(comparison: Comparison) -> str:
    rows = [
        f"- `{host}` is no longer declared; nothing of it is deleted (`lab destroy host={host}`)"
        for host in comparison.touched.removed
    ]
    return "\n\n" + "\n".join(rows) if rows else ""


def _details(lines: list[str]) -> str:
    body = "\n".join(lines)
    if len(body) > LONGEST:
        cut = body[:LONGEST].rpartition("\n")[0]
        rest = plural(body[len(cut) :].count("\n"), "more line")
        body = f"{cut}\n… and {rest}: lab plan --against shows them all on a terminal"
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    fence = "`" * max(3, longest + 1)  # nothing inside may end the block
    block = f"{fence}text\n{body}\n{fence}"
    if len(lines) <= OPEN_UP_TO:
        return block
    return f"<details><summary>The whole plan</summary>\n\n{block}\n\n</details>"


def _text(text: str) -> str:
    """Outside of a block nothing that somebody wrote may act as Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|~@&])", r"\\\1", clean(text))

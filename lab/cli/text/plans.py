"""A plan as people read it: danger first, then host by host and layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from lab.cli.text.groups import Group, grouped, hosts_of
from lab.cli.text.look import Look, clean_lines, fit, line, plural, prose, title_of
from lab.cli.text.values import diff_lines, field_lines
from lab.model.outcome import Outcome, PartReport, RunReport
from lab.model.plan import Action, Change, Plan

STYLE = {
    Action.DELETE: "bold red",
    Action.REPLACE: "magenta",
    Action.UPDATE: "yellow",
    Action.CREATE: "green",
}
GUARDED = "reverts by itself if it cuts us off"
GROUPS_SHOWN = 40
"""Groups of hosts with equal plans that are spelled out before the rest is only counted."""


def plan_lines(report: RunReport, look: Look, titles: dict[str, str] | None = None) -> list[Text]:
    """The whole plan: what is lost, then each host's changes, then the summary."""
    groups = grouped(report.parts)
    lines = [*_danger(groups, look)]
    busy = [g for g in groups if g.is_worth_showing]
    shown = busy if look.full else _most_important(busy)
    for group in shown:
        lines += [*_group(group, look, titles), Text()]
    if len(busy) > len(shown):
        rest = sum(len(g.hosts) for g in busy[len(shown) :])
        lines += [line(f"{look.signs.more} and {plural(rest, 'more host')} with other changes "
                       "(-v shows all; nothing of theirs is lost)"), Text()]  # fmt: skip
    if any(part.plan.predicted and part.plan.changes for g in shown for part in g.parts):
        lines += [
            line(("(predicted): what is not there yet cannot be looked at; these changes", "dim")),
            line(("follow from what the layers below will hand up.", "dim")),
            Text(),
        ]
    lines += [note for text in report.notes for note in prose(text, look, 2, first="! ")]
    return [*lines, summary(report)]


def summary(report: RunReport) -> Text:
    """How many things would be made, changed and lost, and on how many hosts."""
    count = dict.fromkeys(Action, 0)
    hosts: set[str] = set()
    for part in report.parts:
        for change in part.plan.changes:
            count[change.action] += 1
            hosts |= {part.host} - {""}
    total = sum(count.values())
    unclear = {p.host for p in report.parts if not p.outcome.is_good}
    if not total and not unclear:
        everybody = {p.host for p in report.parts} - {""}
        what = (
            f"{next(iter(everybody))} is as declared."
            if len(everybody) == 1
            else f"{plural(len(everybody), 'host')} are as declared."
        )
        return line(("0 changes. ", "bold green"), what)
    blocked = f" {plural(len(unclear), 'host')} cannot go on: see above." if unclear else ""
    if not total:
        return line(("No plan.", "bold red"), (blocked, "red"))
    return line(
        ("Plan: ", "bold"),
        (f"{count[Action.CREATE]:,} to create", "green" if count[Action.CREATE] else ""),
        ", ",
        (f"{count[Action.UPDATE]:,} to update", "yellow" if count[Action.UPDATE] else ""),
        ", ",
        (f"{count[Action.REPLACE]:,} to replace", "magenta" if count[Action.REPLACE] else ""),
        ", ",
        (f"{count[Action.DELETE]:,} to destroy", "bold red" if count[Action.DELETE] else ""),
        f" on {plural(len(hosts), 'host')}.",
        (blocked, "red"),
    )


def change_lines(change: Change, look: Look, indent: int = 4) -> list[Text]:
    """One change: its sign and thing, why, what is lost or interrupted, what differs."""
    sign = change.action.sign
    margin = " " * indent
    inner = indent + len(sign) + 1
    what = clean_lines(change.what)[0]
    head = line(margin, (sign, STYLE[change.action]), " ", (what, "bold"))
    lines = [head]
    if change.reason:
        reason = f"  ({clean_lines(change.reason)[0]})"
        if head.cell_len + len(reason) <= look.width:
            head.append(reason, style="dim")
        else:
            lines += prose(change.reason, look, inner + 2, "dim")
    for label, text, style in (
        ("lost for good: ", change.destroys, "bold red"),
        ("meanwhile: ", change.interrupts, "yellow"),
        ("guarded: ", GUARDED if change.guarded else "", "yellow"),
    ):
        if text:
            lines += prose(label + text, look, inner + 2, style)
    for difference in change.fields:
        lines += field_lines(difference, change.action, look, inner + 2)
        lines += diff_lines(difference, look, inner + 4)
    return lines


def blocker_lines(plan: Plan, look: Look, indent: int = 4) -> list[Text]:
    """What stands in the way, why, and what mends it."""
    lines: list[Text] = []
    for blocker in plan.blockers:
        lines.append(
            line(" " * indent, (f"{look.signs.bad} ", "bold red"), (blocker.what, "bold red"))
        )
        lines += prose(blocker.why, look, indent + 2)
        if blocker.hint:
            lines.append(line(" " * (indent + 2), ("Try: ", "cyan"), blocker.hint))
    return lines


def _danger(groups: list[Group], look: Look) -> Iterator[Text]:
    """What the plan loses, before anything else."""
    losses = [
        (group, part, change)
        for group in groups
        for part in group.parts
        for change in part.plan.changes
        if change.destroys
    ]
    if not losses:
        return
    yield line(("This plan loses, for good:", "bold red"))
    for group, _, change in losses:
        names = hosts_of(group.hosts, look)
        yield line(
            "  ", (change.action.sign, STYLE[change.action]), " ", (names, "bold"), ": ",
            (change.destroys, "bold red"), (f"  ({change.action} {change.what})", "dim"),
        )  # fmt: skip
    yield Text()


def _group(group: Group, look: Look, titles: dict[str, str] | None) -> Iterator[Text]:
    yield line((hosts_of(group.hosts, look), "bold underline"))
    quiet: list[str] = []
    for part in group.parts:
        name = title_of(part.layer, titles, part.part)
        if not part.plan and not part.plan.notes and part.failure is None:
            if name not in quiet:
                quiet.append(name)
            continue
        yield _heading(part, name, look)
        yield from _part(part, look)
    if quiet:
        yield from prose(f"{', '.join(quiet)}: as declared", look, 2, "dim")


def _heading(part: PartReport, name: str, look: Look) -> Text:
    driver = f" {look.signs.dot} {part.driver}" if part.driver else ""
    predicted = "  (predicted)" if part.plan.predicted and part.plan.changes else ""
    return line("  ", (name, "cyan"), (driver, "dim"), (predicted, "italic dim"))


def _part(part: PartReport, look: Look) -> Iterator[Text]:
    yield from blocker_lines(part.plan, look)
    if part.failure is not None and not part.plan.blockers:
        style = "yellow" if part.outcome is Outcome.UNREACHABLE else "red"
        yield from prose(part.failure.message, look, 6, style, first=f"    {look.signs.bad}")
        if part.failure.hint:
            yield line("      ", ("Try: ", "cyan"), part.failure.hint)
    for change in sorted(part.plan.changes, key=lambda c: c.action.danger):
        yield from change_lines(change, look)
    for note in part.plan.notes:
        yield from prose(note, look, 6, "dim", first="    !")


def _most_important(groups: list[Group]) -> list[Group]:
    """Everything that loses something, and as many others as a person would still read."""
    losing = sum(group.loses for group in groups)
    return groups[: max(GROUPS_SHOWN, losing)]


def headline(text: str, look: Look) -> str:
    """The first line of a longer text, cut to the width."""
    return fit(clean_lines(text)[0], look.width, look.signs.more)

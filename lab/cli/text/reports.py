"""What came of a run: the tree, failures in full, addresses, the last line and what to try next."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from lab.cli.text.groups import hosts_of
from lab.cli.text.look import (
    Look,
    clean,
    fit,
    host_name,
    line,
    plural,
    prose,
    show_seconds,
    title_of,
)
from lab.cli.text.plans import blocker_lines
from lab.cli.text.rows import WAITS, ended_row, outcome_text, tree_lines
from lab.model.outcome import Failure, Outcome, PartReport, RunReport

FULL_TREE = 16
"""Up to this many hosts every row is shown; more are grouped by what came of them."""

FAILURES_SHOWN = 20
ADDRESSES_SHOWN = 16


def report_lines(report: RunReport, look: Look, titles: dict[str, str] | None = None) -> list[Text]:
    """Everything after a converge or a destroy, the most important last."""
    lines = [*_tree(report, look, titles), Text()]
    failures = [*_failures(report, look, titles)]
    lines += failures
    if report.verb == "converge":
        lines += addresses(report, look)
    for note in report.notes:
        lines += prose(note, look, 2, "yellow", first="!")
    return [*lines, conclusion(report)]


def conclusion(report: RunReport) -> Text:
    """The last line: how many changes, on how many hosts, how long; or that there were none."""
    hosts = {p.host for p in report.parts} - {""}
    changed = {p.host for p in report.parts if p.applied} - {""}
    applied = sum(len(p.applied) for p in report.parts)
    bad = {p.host for p in report.parts if not p.outcome.is_good}
    took = f" ({show_seconds(report.seconds)})" if report.seconds else ""
    count = plural(applied, "change")
    if bad:
        kinds = {p.outcome for p in report.parts if not p.outcome.is_good}
        word = "Interrupted" if Outcome.INTERRUPTED in kinds else "Not finished"
        return line(
            (f"{word}: ", "bold red"),
            f"{count} made; {plural(len(bad), 'host')} of {len(hosts):,} did not get through.",
            (took, "dim"),
        )
    if report.verb == "destroy":
        gone = f"Destroyed: {count} on {plural(len(changed), 'host')}." if applied else ""
        return line((gone or "Nothing to destroy.", "bold green"), (took, "dim"))
    name = next(iter(hosts)) if len(hosts) == 1 else plural(len(hosts), "host")
    verb = "is" if len(hosts) == 1 else "are"
    if not applied:
        return line(("0 changes. ", "bold green"), f"{name} {verb} as declared.", (took, "dim"))
    return line(
        ("Converged: ", "bold green"),
        f"{count} on {plural(len(changed), 'host')}; {name} {verb} as declared.",
        (took, "dim"),
    )


def failure_lines(failure: Failure, look: Look, indent: int = 2) -> Iterator[Text]:
    """Message, command, exit status, its last lines, and what to type next; nothing cut."""
    margin = " " * indent
    yield from prose(failure.message, look, indent, "red")
    if failure.command:
        yield line(margin, ("$ ", "dim"), failure.command)
    if failure.status is not None:
        yield line(margin, (f"exit status {failure.status}", "dim"))
    for text in failure.lines:
        yield line(margin, (f"{look.signs.edge} ", "dim"), text)
    if failure.hint:
        yield line(margin, ("Try: ", "cyan"), failure.hint)


def _tree(report: RunReport, look: Look, titles: dict[str, str] | None) -> Iterator[Text]:
    hosts = {p.host for p in report.parts}
    if len(hosts) <= FULL_TREE or look.full:
        yield from tree_lines(report.parts, look, titles, report.verb)
        return
    by_host: dict[str, list[PartReport]] = {}
    for part in report.parts:
        by_host.setdefault(part.host, []).append(part)
    alike: dict[tuple[object, ...], list[str]] = {}
    for host, parts in by_host.items():
        key = tuple((p.layer, p.part, p.outcome, len(p.applied)) for p in parts)
        alike.setdefault(key, []).append(host)
    groups = sorted(alike.values(), key=lambda g: _rank(by_host[g[0]]))
    for names in groups[:FULL_TREE]:
        yield _told_once(tuple(names), by_host[names[0]], report.verb, look, titles)
    rest = sum(len(names) for names in groups[FULL_TREE:])
    if rest:
        yield line((f"{look.signs.more} and {plural(rest, 'more host')} (-v shows all)", "dim"))


def _rank(parts: list[PartReport]) -> int:
    """Hosts with nothing to tell first, failures last, where the eye is."""
    outcomes = {p.outcome for p in parts}
    if any(not o.is_good for o in outcomes):
        return 2
    return 1 if outcomes - {Outcome.UNCHANGED} else 0


def _told_once(
    names: tuple[str, ...],
    parts: list[PartReport],
    verb: str,
    look: Look,
    titles: dict[str, str] | None,
) -> Text:
    """One line for hosts that ended alike: the worst of their layers, or what was done."""
    worst = next((p for p in parts if not p.outcome.is_good), None)
    shown = worst or next((p for p in parts if p.outcome is not Outcome.UNCHANGED), parts[0])
    row = ended_row(shown, look, verb=verb)
    applied = sum(len(p.applied) for p in parts)
    text = outcome_text(shown, verb) if worst or not applied else plural(applied, "change")
    where = f"{title_of(shown.layer, titles, shown.part)} " if worst else ""
    each = " each" if len(names) > 1 and applied and not worst else ""
    who = hosts_of(names, look)
    room = max(look.width - cell_len(who) - 4, 20)
    told = fit(f"{where}{text}{each}", room, look.signs.more)
    return line(row.sign, " ", (who, "bold"), "  ", (told, row.style))


def _failures(report: RunReport, look: Look, titles: dict[str, str] | None) -> Iterator[Text]:
    """Each failure in full; of those that only wait for another one, nothing."""
    bad = [
        p
        for p in report.parts
        if not p.outcome.is_good and (p.plan.blockers or (p.failure and p.failure.kind != WAITS))
    ]
    told = 0
    seen: dict[tuple[str, str], int] = {}
    for part in bad:
        message = part.failure.message if part.failure else part.plan.blockers[0].what
        key = (part.layer, message.replace(part.host, "<host>"))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1 and not look.full:
            continue
        told += 1
        if told > FAILURES_SHOWN and not look.full:
            continue
        where = f"{host_name(part.host)} {look.signs.dot} {title_of(part.layer, titles, part.part)}"
        yield line((where, "bold"), (f" ({part.driver})" if part.driver else "", "dim"))
        if part.plan.blockers:
            yield from blocker_lines(part.plan, look, 2)
        elif part.failure:
            yield from failure_lines(part.failure, look)
        yield Text()
    rest = len(bad) - min(told, FAILURES_SHOWN)
    if rest and not look.full:
        yield line((f"{look.signs.more} and {plural(rest, 'failure')} like these (-v: all)", "dim"))
        yield Text()


def addresses(report: RunReport, look: Look) -> list[Text]:
    """How to reach what was converged: a login that can be copied, and the workloads' URLs."""
    lines: list[Text] = []
    reached = [h for h, handed in report.handed.items() if _is_reached(handed)]
    for host in reached[:ADDRESSES_SHOWN]:
        handed = report.handed[host]
        login = f"  lab ssh {host}" if handed.get("address") else ""
        lines.append(line((host, "bold"), login))
        urls = handed.get("urls")
        for name, url in (urls if isinstance(urls, dict) else {}).items():
            lines.append(line("  ", (f"{name}: ", "dim"), (str(url), "cyan")))
    if len(reached) > ADDRESSES_SHOWN:
        rest = plural(len(reached) - ADDRESSES_SHOWN, "more host")
        lines.append(line((f"{look.signs.more} and {rest}", "dim")))
    return [*lines, Text()] if lines else []


def _is_reached(handed: dict[str, object]) -> bool:
    return bool(handed.get("address") or handed.get("urls"))


def first_url(report: RunReport) -> str:
    """A URL that a person would look at first, or ``""``."""
    for handed in report.handed.values():
        urls = handed.get("urls")
        if isinstance(urls, dict) and urls:
            return clean(str(next(iter(urls.values()))))
    return ""

"""``lab graph`` in a terminal: providers, their hosts in order, what runs and lies on each."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from lab.api.graph import Graph, Member
from lab.cli.text.look import Look, fit, line, pad, plural

_NAME = 24


def graph_lines(graph: Graph, look: Look) -> list[Text]:
    """A block a provider; hosts in the order in which they are converged."""
    if not graph.hosts:
        return [line("No host is declared yet.")]
    name = min(max(cell_len(m.host) for m in graph.hosts), _NAME)
    of = min(max(cell_len(m.persona) for m in graph.hosts), _NAME - 8)
    lines: list[Text] = []
    for provider, kind in graph.providers.items():
        own = [m for m in graph.hosts if m.provider == provider]
        count = plural(len(own), "host")
        lines.append(line((provider, "bold"), (f" ({kind}), {count}", "dim")))
        for member in sorted(own, key=lambda m: m.rank):
            lines += _host(member, name, of, look)
    return lines


def _host(member: Member, name: int, of: int, look: Look) -> list[Text]:
    more = look.signs.more
    head = line(
        "  ",
        (pad(fit(member.host, name, more), name), "bold"),
        "  ",
        (pad(fit(member.persona, of, more), of), "cyan"),
    )
    notes = [f"after {', '.join(member.after)}"] if member.after else []
    notes += ["protected"] if member.protect else []
    room = look.width - head.cell_len - 2
    head.append_text(line(("  " + fit(f" {look.signs.dot} ".join(notes), room, more), "dim")))
    head.rstrip()
    lines = [head]
    for workload in member.workloads:
        folders = [t.name for t in member.lasting if t.of == workload.name]
        kept = f"keeps {', '.join(folders)}" if folders else ""
        lines.append(_thing("workload", f"{workload.name} {workload.detail}", kept, look))
    disks = (t for t in member.lasting if not t.of)
    return [*lines, *(_thing("disk", d.name, d.detail, look) for d in disks)]


def _thing(kind: str, name: str, rest: str, look: Look) -> Text:
    text = line(("      " + pad(kind, 10), "dim"), pad(name.strip(), 24), "  ")
    room = look.width - text.cell_len
    text.append_text(line((fit(rest, room, look.signs.more), "dim")))
    text.rstrip()
    return text

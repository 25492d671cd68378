"""The lab as a Mermaid flowchart: Markdown on Gitea, Forgejo, GitHub and GitLab shows it drawn.

Syntax: https://mermaid.js.org/syntax/flowchart.html (identifiers are made up here, so that no name
of the lab can be a keyword; texts are quoted, special characters are entity codes).
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.api.graph import Graph, Member

COLOURS = ("2563eb", "0d9488", "b45309", "9333ea", "be123c", "4d7c0f", "0369a1", "a21caf")
_PLAIN = frozenset(" .,:;/_-+()@·%=")


EDGES, CHARACTERS = 500, 50_000
"""What Mermaid draws by its defaults; a diagram cannot raise them (its ``secure`` settings)."""


def mermaid(graph: Graph) -> str:
    """The flowchart: providers around their hosts, workloads and data hanging on them.

    Where that is more than Mermaid draws, workloads and data stand inside their hosts instead.
    """
    whole = _flowchart(graph, apart=True)
    return whole if drawable(whole) else _flowchart(graph, apart=False)


def drawable(text: str) -> bool:
    """Whether it is within Mermaid's limits."""
    edges = sum(" --- " in line or " ==> " in line for line in text.splitlines())
    return edges <= EDGES and len(text) <= CHARACTERS


def _flowchart(graph: Graph, *, apart: bool) -> str:
    ids = {m.host: f"h{n}" for n, m in enumerate(graph.hosts)}
    lines = [f"%% {_comment(graph.lab)}: drawn by lab graph", "flowchart LR"]
    for number, (provider, kind) in enumerate(graph.providers.items()):
        lines.append(f'  subgraph p{number}["{_text(f"{provider} ({kind})")}"]')
        for member in graph.hosts:
            if member.provider == provider:
                lines += (f"    {line}" for line in _host(member, ids[member.host], apart=apart))
        lines.append("  end")
    lines += [f"  {ids[a]} ==> {ids[b]}" for a, b in graph.order]
    for number, persona in enumerate(graph.personas):
        colour = COLOURS[number % len(COLOURS)]
        members = ",".join(ids[m.host] for m in graph.hosts if m.persona == persona)
        lines.append(f"  classDef c{number} stroke:#{colour},stroke-width:3px")
        lines.append(f"  class {members} c{number}")
    return "\n".join(lines) + "\n"


def _host(member: Member, own: str, *, apart: bool) -> Iterable[str]:
    protected = " · protected" if member.protect else ""
    said = f"{_text(member.host)}<br/>{_text(member.persona + protected)}"
    if not apart:
        said += "".join(f"<br/>{_text(t.name)}" for t in member.workloads)
        said += "".join(f"<br/>{_text(t.name)}" for t in member.lasting if not t.of)
        yield f'{own}["{said}"]'
        return
    yield f'{own}["{said}"]'
    at = {"": own}
    for number, thing in enumerate(member.workloads):
        at[thing.name] = f"{own}w{number}"
        yield f'{own} --- {own}w{number}(["{_text(f"{thing.name} {thing.detail}".strip())}"])'
    for number, thing in enumerate(member.lasting):
        above = at.get(thing.of, own)
        yield f'{above} --- {own}d{number}[("{_text(f"{thing.name} {thing.detail}".strip())}")]'


def _text(text: str) -> str:
    """Text that can stand between double quotes."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)


def _comment(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and c not in "{}%")

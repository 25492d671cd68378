"""Templates in words: which there are, who is behind and by what, what was promoted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from lab.cli.text.look import Look, fit, line, pad, plural, prose
from lab.model.units import show_size

if TYPE_CHECKING:
    from lab.api.images import HostImage, Listed, PackageDiff, Promotion

_SOME = 3


def listing_lines(found: Sequence[Listed], look: Look) -> list[Text]:
    """One line a template: name, size, when it was made, who lies on it, what it is for."""
    if not found:
        return [line("No templates.")]
    width = max(len("template"), *(len(one.template.name) for one in found))
    head = f"{pad('template', width)}  {'size':>8}  {'made':<10}  used by"
    lines = [line((head, "bold"))]
    for one in found:
        template = one.template
        room = max(look.width - width - 24, 12)
        lines.append(
            line(
                (pad(template.name, width), "" if template.users or one.wanted else "dim"),
                f"  {show_size(template.size):>8}  {template.made[:10]:<10}  ",
                fit(", ".join(template.users) or "nobody", room, look.signs.more),
            )
        )
        for text, style in _notes(one):
            lines += prose(text, look, 4, style)
    return lines


def _notes(one: Listed) -> Iterator[tuple[str, str]]:
    if one.template.damaged:
        yield one.template.damaged, "red"
    if one.template.captured:
        yield f"made of the capture {one.template.captured}", "dim"
    if one.promoted:
        yield f"promoted for {', '.join(one.promoted)}", "green"
    elif one.wanted:
        yield f"what {', '.join(one.wanted)} would be made from", "dim"


def standing_lines(found: Sequence[HostImage], look: Look) -> list[Text]:
    """One line a host; below it, where it is behind, what differs."""
    if not found:
        return [line("No host here is made from a template.")]
    width = max(len(one.host) for one in found)
    lines: list[Text] = []
    for one in found:
        sign = (look.signs.warn, "yellow") if one.behind else (look.signs.ok, "green")
        if one.lies_on is None:
            sign = (look.signs.skip, "dim")
        lines.append(line(sign, " ", (pad(one.host, width), "bold"), f"  {_says(one)}"))
        for text in _differences(one, look):
            lines += prose(text, look, 4, "dim")
    lines += _definitions(found, look)
    behind = sum(one.behind for one in found)
    verdict = f"{plural(behind, 'host')} behind" if behind else "Nobody is behind"
    return [*lines, Text(), line((verdict, "yellow" if behind else "green"), ".")]


def _says(one: HostImage) -> str:
    what = f"{one.wanted} ({'promoted' if one.promoted else 'its definition'})"
    there = "" if one.built else ", which is not made yet"
    if one.lies_on is None:
        return f"no machine here; it would be made from {what}{there}"
    if not one.behind:
        return what
    return f"behind: made from {one.lies_on}, would be from {what}{there}"


def _differences(one: HostImage, look: Look) -> Iterator[str]:
    if one.behind and one.captured:
        yield f"{one.wanted} was made of the capture {one.captured}"
    for field in one.fields:
        yield f"{field.field}: {_value(field.before)} {look.signs.arrow} {_value(field.after)}"
    if one.packages:
        shown = one.packages if look.full else one.packages[:_SOME]
        rest = len(one.packages) - len(shown)
        words = ", ".join(_package(p, look.signs.arrow) for p in shown)
        more = f" and {rest} more (-v)" if rest else ""
        yield f"{plural(len(one.packages), 'package')}: {words}{more}"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return str(value) if value not in {None, ""} else "none"


def _package(package: PackageDiff, arrow: str) -> str:
    if package.before is None:
        return f"+{package.name} {package.after}"
    if package.after is None:
        return f"-{package.name} {package.before}"
    return f"{package.name} {package.before} {arrow} {package.after}"


def _definitions(found: Sequence[HostImage], look: Look) -> list[Text]:
    """Personas whose definition comes to something else than what is promoted."""
    moved = {one.persona: one for one in found if one.promoted and one.own != one.wanted}
    lines: list[Text] = []
    for persona, one in moved.items():
        what = f"the definition of {persona} comes to {one.own}, promoted is {one.wanted}"
        lines += prose(f"{what} (lab image promote persona={persona})", look, 2, first="! ")
    return [Text(), *lines] if lines else []


def promotion_lines(promotions: Sequence[Promotion], look: Look) -> list[Text]:
    """What new machines get from now on, and who stays behind."""
    lines: list[Text] = []
    for one in promotions:
        after = one.after or "what the definition comes to"
        was = f" (before: {one.before})" if one.before else ""
        lines.append(
            line(("promoted.yaml", "bold"), f": new machines of {one.persona} get {after}")
        )
        lines += prose(was.strip(" ()"), look, 4, "dim") if was else []
        if one.behind:
            names = ", ".join(one.behind)
            stay = "stays" if len(one.behind) == 1 else "stay"
            after = f"{names} {stay} on another template until lab rebuild host={one.behind[0]}"
            if one.after is None:
                after = f"{names}: the next plan replaces the machine"
            lines += prose(after, look, 4, "yellow")
    return lines

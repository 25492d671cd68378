"""Values of fields, before and after, as one line each; whole files as a diff."""

from __future__ import annotations

import json

from rich.cells import cell_len
from rich.text import Text

from lab.cli.text.look import Look, clean, clean_lines, fit, line
from lab.model.plan import JSON, Action, FieldDiff

DIFF_LINES = 20
LIST_ITEMS = 12
SECRET = "(secret)"  # noqa: S105  (what stands in the place of one)


def show_value(value: JSON) -> str:
    """A value in the words of the user's YAML: ``1GiB``, ``[curl, git]``, ``none`` for None."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return clean(value.replace("\n", "\\n")) if value else '""'
    if isinstance(value, list) and all(not isinstance(v, (list, dict)) for v in value):
        shown = [show_value(v) for v in value[:LIST_ITEMS]]
        more = [f"and {len(value) - LIST_ITEMS} more"] if len(value) > LIST_ITEMS else []
        return f"[{', '.join([*shown, *more])}]"
    return clean(json.dumps(value, ensure_ascii=False, sort_keys=True, default=str))


def field_lines(field: FieldDiff, action: Action, look: Look, indent: int) -> list[Text]:
    """``memory: 1GiB → 2GiB``; on two lines where one is too narrow."""
    if field.text and not field.secret:
        return [line(" " * indent, f"{field.field}:")]
    before, after = (SECRET if field.secret and v is not None else show_value(v)
                     for v in (field.before, field.after))  # fmt: skip
    margin, name = " " * indent, f"{field.field}: "
    if field.secret and field.before is not None and field.after is not None:
        return [line(margin, name, SECRET, (" changes", "dim"))]
    if action is Action.CREATE and field.before is None:
        return _single(margin, name, after, look)
    if action is Action.DELETE and field.after is None:
        return _single(margin, name, before, look)
    lists = _list_difference(field, look, indent)
    if lists:
        return lists
    arrow = look.signs.arrow
    if indent + cell_len(name) + cell_len(before) + cell_len(after) + 4 <= look.width:
        return [line(margin, name, (before, "red"), f" {arrow} ", (after, "green"))]
    room = look.width - indent - 6 if not look.full else 10_000
    return [
        line(margin, name),
        line(margin, "  ", (f"- {fit(before, room, look.signs.more)}", "red")),
        line(margin, "  ", (f"+ {fit(after, room, look.signs.more)}", "green")),
    ]


def _single(margin: str, name: str, value: str, look: Look) -> list[Text]:
    room = look.width - len(margin) - cell_len(name)
    if look.full or value.startswith(("/", "ssh-")):
        room = 100_000
    return [line(margin, (name, "dim"), fit(value, room, look.signs.more))]


def _list_difference(field: FieldDiff, look: Look, indent: int) -> list[Text]:
    """Of two lists only what comes and goes; nothing where they are not both plain lists."""
    before, after = field.before, field.after
    if not isinstance(before, list) or not isinstance(after, list) or field.secret:
        return []
    old, new = [show_value(v) for v in before], [show_value(v) for v in after]
    gone, come = [v for v in old if v not in new], [v for v in new if v not in old]
    if len(old) + len(new) <= 4 or not (gone or come):  # noqa: PLR2004  (short lists read as they are)
        return []
    room = 100_000 if look.full else look.width - indent - 4
    lines = [line(" " * indent, f"{field.field}: ", (f"{len(old) - len(gone)} stay", "dim"))]
    for mark, items, style in (("-", gone, "red"), ("+", come, "green")):
        if items:
            text = fit(", ".join(items), room, look.signs.more)
            lines.append(line(" " * indent, "  ", (f"{mark} {text}", style)))
    return lines


def diff_lines(field: FieldDiff, look: Look, indent: int) -> list[Text]:
    """The text diff, coloured and capped."""
    if not field.text or field.secret:
        return []
    body = [t for t in clean_lines(field.text) if not t.startswith(("--- ", "+++ "))]
    shown = body if look.full else body[:DIFF_LINES]
    margin = " " * indent
    lines = [line(margin, (text, _diff_style(text))) for text in shown]
    if len(body) > len(shown):
        rest = len(body) - len(shown)
        lines.append(line(margin, (f"{look.signs.more} {rest} more lines (-v shows them)", "dim")))
    return lines


def _diff_style(text: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "dim")

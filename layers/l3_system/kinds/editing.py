"""Editing a text: lines and marked blocks that must be in it, and taking them out again.

Pure. Texts are strings of any characters; lines end at a line feed, and a carriage return before

"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_MARK = re.compile(r"^(\S+) (BEGIN|END) strata (\S+)$")


@dataclass(frozen=True, slots=True)
class Edit:
    """A line that must be there, or must not (``absent``); with ``block``, the lines of a block.

    Attributes:
        name: Unique among the edits of a file; a block's marks hold it.
        text: The line without its end, or the block's lines. ``None``: named by ``match`` only.
        match: The line takes the place of those that this regular expression finds.
        after: A new line goes behind the last line that this finds.
        before: A new line goes before the first line that this finds.
        comment: What a block's marks begin with; ``""`` for a line.
    """

    name: str
    text: str | None
    match: str | None = None
    after: str | None = None
    before: str | None = None
    absent: bool = False
    comment: str = ""

    def finds(self, line: str) -> bool:
        """Whether a line (without its end) is the one that this edit is about."""
        if line == self.text:
            return True
        return self.match is not None and re.search(self.match, line) is not None


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with every edit made; made already, it stays as it is."""
    lines = _LINE.findall(text)
    crlf = sum(line.endswith("\r\n") for line in lines)
    end = "\r\n" if crlf and 2 * crlf >= len(lines) else "\n"
    for edit in edits:
        if edit.comment:
            _block(lines, edit, end)
        else:
            _line(lines, edit, end)
    return "".join(lines)


def unedited(written: str, now: str, base: str) -> str:
    """``now`` without what made ``written`` out of ``base``.

    What else was changed since ``written`` stays, also where it touches what is taken out.
    """
    if now == written:
        return base
    source, theirs, ours = (_LINE.findall(t) for t in (written, now, base))
    hunks = _hunks(source, theirs), _hunks(source, ours)
    out: list[str] = []
    at = 0
    for low, high in _spans_of(hunks):
        out += source[at:low]
        changed, original = (_between(source, side, low, high) for side in hunks)
        out += _settled(source[low:high], changed, original)
        at = high
    return _joined([*out, *source[at:]])


def conflict(edits: Sequence[Edit]) -> tuple[Edit, Edit] | None:
    """Two edits of which one makes a line that the other is about, so that both cannot last."""
    single = [e for e in edits if not e.comment]
    for one in single:
        for two in single:
            if one is not two and not one.absent and one.text is not None and two.finds(one.text):
                return min((one, two), (two, one), key=lambda p: single.index(p[0]))
    return None


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _joined(lines: Sequence[str]) -> str:
    """The lines as a text; one without an end gets it unless it is the last."""
    whole = [line if line.endswith("\n") else f"{line}\n" for line in lines[:-1]]
    return "".join([*whole, *lines[-1:]])


def _line(lines: list[str], edit: Edit, end: str) -> None:
    free = _outside_blocks(lines)
    found = [i for i in free if edit.finds(_bare(lines[i]))]
    keep = next((i for i in found if _bare(lines[i]) == edit.text), found[0] if found else None)
    if edit.absent or edit.text is None:
        keep = None
    elif keep is None:
        _insert(lines, edit, [edit.text + end])
        return
    elif _bare(lines[keep]) != edit.text:
        old = lines[keep]
        lines[keep] = (edit.text + old[len(_bare(old)) :]) or end
    for index in reversed(found):
        if index != keep:
            del lines[index]


def _block(lines: list[str], edit: Edit, end: str) -> None:
    begin, finish = (f"{edit.comment} {word} strata {edit.name}" for word in ("BEGIN", "END"))
    body = [f"{_bare(line)}{end}" for line in _LINE.findall(edit.text or "")]
    whole = [begin + end, *body, finish + end]
    bare = [_bare(line) for line in lines]
    spans = _spans(bare, begin, finish)
    inside = {i for low, high in spans for i in range(low, high)}
    strays = [i for i, b in enumerate(bare) if b in {begin, finish} and i not in inside]
    if len(spans) == 1 and not strays and bare[slice(*spans[0])] == [_bare(w) for w in whole]:
        return
    first = spans[0][0] if spans else None
    before = sum(i < first for i in strays) if first is not None else 0
    gone = {*inside, *strays}
    lines[:] = [line for i, line in enumerate(lines) if i not in gone]
    if first is None:
        _insert(lines, edit, whole)
    else:
        _put(lines, first - before, whole)


def _spans(bare: Sequence[str], begin: str, finish: str) -> list[tuple[int, int]]:
    """From a block's first mark to behind its last one, for each time it is there."""
    spans = []
    start = None
    for index, line in enumerate(bare):
        if line == begin:
            start = index
        elif line == finish and start is not None:
            spans.append((start, index + 1))
            start = None
    return spans


def _outside_blocks(lines: Sequence[str]) -> list[int]:
    """Indexes of the lines that are in no marked block of any name."""
    bare = [_bare(line) for line in lines]
    marks = {i: m for i, line in enumerate(bare) if (m := _MARK.match(line))}
    inside = set(marks)
    for comment, name in {(m[1], m[3]) for m in marks.values()}:
        begin, finish = (f"{comment} {word} strata {name}" for word in ("BEGIN", "END"))
        inside |= {i for low, high in _spans(bare, begin, finish) for i in range(low, high)}
    return [i for i in range(len(lines)) if i not in inside]


def _insert(lines: list[str], edit: Edit, new: list[str]) -> None:
    at = len(lines)
    if edit.after is not None:
        found = [i for i in _outside_blocks(lines) if re.search(edit.after, _bare(lines[i]))]
        at = found[-1] + 1 if found else at
    elif edit.before is not None:
        found = [i for i in _outside_blocks(lines) if re.search(edit.before, _bare(lines[i]))]
        at = found[0] if found else at
    _put(lines, at, new)


def _put(lines: list[str], at: int, new: list[str]) -> None:
    """Put whole lines there; a last line without an end gets one."""
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n" if lines[at - 1].endswith("\r") else new[0][len(_bare(new[0])) :]
    lines[at:at] = new


_Hunk = tuple[int, int, list[str]]


def _hunks(source: list[str], other: list[str]) -> list[_Hunk]:
    """What to put in place of which lines of ``source``."""
    match = difflib.SequenceMatcher(None, source, other, autojunk=False)
    return [(a, b, other[c:d]) for tag, a, b, c, d in match.get_opcodes() if tag != "equal"]


def _spans_of(sides: tuple[list[_Hunk], list[_Hunk]]) -> list[tuple[int, int]]:
    """Where either side changes something; changes of both that overlap are one."""
    spans: list[tuple[int, int]] = []
    for low, high, _ in sorted([*sides[0], *sides[1]], key=lambda h: h[:2]):
        if spans and (low < spans[-1][1] or (low, high) == spans[-1]):
            spans[-1] = (spans[-1][0], max(high, spans[-1][1]))
        else:
            spans.append((low, high))
    return spans


def _between(source: list[str], hunks: list[_Hunk], low: int, high: int) -> list[str]:
    """One side's lines in place of ``source[low:high]``."""
    out: list[str] = []
    at = low
    for start, end, lines in hunks:
        inner = low < start < high if start == end else low <= start and end <= high
        if inner or (start, end) == (low, high):
            out += [*source[at:start], *lines]
            at = end
    return [*out, *source[at:high]]


def _settled(there: list[str], changed: list[str], original: list[str]) -> list[str]:
    """Both changed it, or one: what was there before us, and what somebody else wrote since."""
    if changed in (there, original):
        return original
    if original == there:
        return changed
    kept = [line for line in original if line not in there or line in changed]
    return [*kept, *(c for c in changed if c not in there and c not in original)]

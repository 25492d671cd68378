"""Editing a text: lines and marked blocks that must be in it, and taking them out again.

Pure. Texts are strings of any characters; lines end at a line feed, and a carriage return before

"""

from __future__ import annotations

import difflib
import re
from collections import Counter
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
    end = _end(lines)
    for edit in edits:
        if edit.comment:
            _block(lines, edit, end)
        else:
            _line(lines, edit, end)
    return "".join(lines)


def merged(source: str, now: str, wanted: str) -> str:
    """``now`` with that done to it which makes ``wanted`` out of ``source``.

    With what was there before us as ``wanted`` and our own text as ``source``, our edits are taken
    out again. What else was changed since ``source`` stays, also where it touches that.
    """
    if now == source:
        return wanted
    lines, theirs, ours = (_LINE.findall(_ended(t)) for t in (source, now, wanted))
    # a line of ours that stands elsewhere now is still ours; one more of it is somebody else's
    before, after = Counter(lines), Counter(theirs)
    moved = {line for line in {*lines} - {*ours} if after[line] <= before[line]}
    hunks = _hunks(lines, theirs), _hunks(lines, ours)
    out: list[str] = []
    at = 0
    for low, high in _spans_of(hunks):
        out += lines[at:low]
        changed, settled = (_between(lines, side, low, high) for side in hunks)
        there = lines[low:high]
        changed = [line for line in changed if line in there or line not in moved]
        out += _settled(there, changed, settled)
        at = high
    out += lines[at:]
    if out and ours and out[-1] == ours[-1]:
        out[-1] = _LINE.findall(wanted)[-1]  # its last line may have had no end
    return "".join(out)


def with_blocks(source: str, now: str) -> str:
    """``now`` with the lines that the blocks of ``source`` had there; both marks must be left."""
    lines, there = _LINE.findall(now), _LINE.findall(source)
    for begin, finish in _marks(there):
        old = _spans([_bare(line) for line in there], begin, finish)
        new = _spans([_bare(line) for line in lines], begin, finish)
        if len(old) == len(new) == 1:
            lines[slice(*new[0])] = there[slice(*old[0])]
    return "".join(lines)


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


def _end(lines: Sequence[str]) -> str:
    """How most lines of a text end."""
    crlf = sum(line.endswith("\r\n") for line in lines)
    return "\r\n" if crlf and 2 * crlf >= len(lines) else "\n"


def _ended(text: str) -> str:
    """The text with an end to its last line."""
    return text if not text or text.endswith("\n") else text + _end(_LINE.findall(text))


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
    inside = {i for i, line in enumerate(bare) if _MARK.match(line)}
    for begin, finish in _marks(lines):
        inside |= {i for low, high in _spans(bare, begin, finish) for i in range(low, high)}
    return [i for i in range(len(lines)) if i not in inside]


def _marks(lines: Sequence[str]) -> list[tuple[str, str]]:
    """The first and the last line of every block that has any of them here."""
    found = [m for m in (_MARK.match(_bare(line)) for line in lines) if m]
    named = dict.fromkeys((m[1], m[3]) for m in found)
    return [(f"{c} BEGIN strata {name}", f"{c} END strata {name}") for c, name in named]


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


def _settled(there: list[str], changed: list[str], wanted: list[str]) -> list[str]:
    """Both changed it, or one: what is wanted, and what somebody else wrote since."""
    if changed in (there, wanted):
        return wanted
    if wanted == there:
        return changed
    kept = [line for line in wanted if line not in there or line in changed]
    return [*kept, *(c for c in changed if c not in there and c not in wanted)]

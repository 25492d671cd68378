"""Lines and marked blocks in files that are otherwise somebody else's.

All edits of a file are one thing: the file is read once, written once, and keeps its mode and
owner. The host keeps a record of each file: what it was without the edits, and what we made of it.
From these, what is no longer declared is taken out again byte for byte, and what a person wrote
into the file since then stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from lab.model.plan import Action, Blocker, Change, FieldDiff, digest
from lab.model.secret import Secret
from layers.l3_system.kinds.directory import STAT, stats
from layers.l3_system.kinds.editing import Edit, conflict, edited, unedited
from layers.l3_system.kinds.file import content_of, text_diff
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    compared,
    is_found,
    name_of,
    operands,
    quote,
    with_reload,
)
from layers.l3_system.spec import Spec, Thing
from layers.l3_system.spec.files import MARKER

NAME = "edit"
LOOKS_AGAIN = True
_LARGEST = 1024 * 1024
_RECORDS = "$lib/edits"
_NEXT = "$lib/edits.next"


@dataclass(frozen=True, slots=True)
class Record:
    """What the host remembers of a file: which edits made ``written`` out of ``base``.

    ``base`` is ``None`` where the file was not there before us.
    """

    edits: str
    base: str | None
    written: str


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:
    """The edits of each file. Raises ValueError where they cannot all last."""
    out = {}
    for path in [*spec.lines, *(p for p in spec.blocks if p not in spec.lines)]:
        edits, secret = edits_of(spec, path, place)
        fields = {"content": digest([asdict(e) for e in edits])}
        out[path] = Wanted(fields, edits=edits, secret=secret)
    return out


def edits_of(
    spec: Spec, path: str, place: Place, *, reveal: bool = True
) -> tuple[tuple[Edit, ...], bool]:
    """The edits of one file, and whether any holds a secret.

    Without ``reveal`` secrets stand in them by their names. Raises ValueError where one is not
    possible, or two cannot both last.
    """
    edits, secret = [], False
    for name, line in spec.lines.get(path, {}).items():
        text = line.line
        if isinstance(text, Secret):
            text, secret = (text.reveal() if reveal else str(text)), True
        absent = line.state == "absent"
        edits.append(Edit(name, text, line.match, line.after, line.before, absent))
    for name, block in spec.blocks.get(path, {}).items():
        content, is_secret = content_of(block, place, reveal=reveal)
        secret = secret or is_secret
        text = _text(content)
        if MARKER.search(text):
            raise ValueError(f"the block {name} of {path} holds the mark of a block")
        edits.append(Edit(name, text, None, block.after, block.before, comment=block.comment))
    clash = conflict(edits)
    if clash is not None:
        raise ValueError(f"the lines {clash[0].name} and {clash[1].name} of {path} are about one")
    return tuple(edits), secret


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat and one sha256sum for all; texts only of files that differ from their record."""
    known = "\n".join(f"{w.fields['content']}  {path}" for path, w in wanted.items())
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n"
        f'  mark {NAME} stat; {STAT} -- "$@" 2>/dev/null\n'
        f'  d=$(sha256sum -- "$@" 2>/dev/null); w={quote(known)}\n'
        '  for p in "$@"; do\n'
        f'    h=; [ ! -r {_RECORDS}"$p" ] || read -r h <{_RECORDS}"$p"\n'
        "    e=${h%% *}; s=${h#* }; s=${s%% *}\n"
        f'    if [ ! -e {_NEXT}"$p" ]; then\n'
        '      case "$nl$w$nl" in *"$nl$e  $p$nl"*) case "$nl$d$nl" in *"$nl$s  $p$nl"*)\n'
        f'        mark {NAME} same "$p"; continue ;; esac ;; esac; fi\n'
        f'    if [ ! -L "$p" ] && [ -f "$p" ]; then mark {NAME} now "$p"\n'
        f'      head -c {_LARGEST + 1} -- "$p"; fi\n'
        f'    [ -z "$h" ] || {{ mark {NAME} record "$p"; cat {_RECORDS}"$p"; }}\n'
        f'    [ ! -r {_NEXT}"$p" ] || {{ mark {NAME} next "$p"; cat {_NEXT}"$p"; }}\n'
        "  done\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """What is there, what it was, and what was made of it; nothing of files as recorded."""
    by: dict[str, dict[str, bytes]] = {"now": {}, "record": {}, "next": {}, "same": {}}
    there: dict[str, Thing] = {}
    for section in sections:
        if section.words[0] == "stat":
            there = dict(stats(section.lines))
        else:
            by[section.words[0]][section.words[1]] = section.body
    found = {}
    for path in {*there, *by["record"], *by["next"], *by["same"]}:
        stat = there.get(path)
        facts = {} if stat is None else {f: stat.facts[f] for f in ("kind", "changed")}
        if path in by["same"]:
            facts["same"] = True
        now, record, pending = (by[k].get(path) for k in ("now", "record", "next"))
        facts["large"] = now is not None and len(now) > _LARGEST
        facts["now"] = None if now is None else _text(now)
        interrupted = pending is not None and now is not None and _made(pending, now)
        facts["interrupted"] = interrupted
        facts["record"] = asdict(r) if (r := read(pending if interrupted else record)) else None
        found[path] = Thing(facts=facts)
    return found


def _made(record: bytes, now: bytes) -> bool:
    """Whether the record is about just this content."""
    return record.split(b" ", 2)[1:2] == [hashlib.sha256(now).hexdigest().encode()]


def read(record: bytes | None) -> Record | None:
    """A record as the host keeps it; ``None`` where it is torn."""
    head, _, body = (record or b"").partition(b"\n")
    words = head.decode(errors="replace").split(" ")
    if len(words) != 3 or not (words[2] == "-" or words[2].isdigit()):  # noqa: PLR2004
        return None
    size = 0 if words[2] == "-" else int(words[2])
    base, written = body[:size], body[size:]
    if hashlib.sha256(written).hexdigest() != words[1]:
        return None
    return Record(words[0], None if words[2] == "-" else _text(base), _text(written))


def written(record: Record) -> bytes:
    """The record as the host keeps it: a line with its digests, then both texts."""
    base, made = _bytes(record.base or ""), _bytes(record.written)
    size = "-" if record.base is None else str(len(base))
    return f"{record.edits} {hashlib.sha256(made).hexdigest()} {size}\n".encode() + base + made


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def result(
    now: str | None, record: Record | None, edits: Sequence[Edit], mark: str
) -> tuple[str | None, str | None]:
    """What the file is to be (``None``: not there), and what it is without the edits."""
    if record is None:
        made = edited(now or "", edits)
        return (None if now is None and not made else made), now
    if record.edits == mark:
        made = edited(now or "", edits)
        base = unedited(record.written, made, record.base or "")
    else:
        base = unedited(record.written, now or "", record.base or "")
        made = edited(base, edits)
    gone = record.base is None and not base
    return (None if gone and not made else made), (None if gone else base)


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make the edits that are not made, and take out those that are no longer declared."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    what = f"{NAME} {name}"
    if found is not None and "now" not in found.facts:  # a perfect world remembers only the edits
        return compared(NAME, name, view)
    facts = found.facts if found else {"now": None}
    blocked = _blocked(what, facts)
    if blocked is not None or facts.get("same"):
        return blocked
    now, record = facts["now"], _record(facts)
    mark = str(wanted.fields["content"])
    made, _ = result(now, record, wanted.edits, mark)
    if made == now:
        if not facts.get("interrupted"):
            return None
        return Change(Action.UPDATE, what, reason="a change that was interrupted is recorded")
    before = None if now is None else hashlib.sha256(_bytes(now)).hexdigest()
    text = "" if wanted.secret else _shown(name, now, made)
    diff = FieldDiff("content", before, mark, text=text, secret=wanted.secret)
    return Change(Action.CREATE if now is None else Action.UPDATE, what, (diff,))


def _blocked(what: str, facts: Mapping[str, object]) -> Blocker | None:
    path = what.split(" ", 1)[1]
    kind = facts.get("kind", "file")
    if kind == "symlink":
        hint = f"name the file it leads to: readlink -f {path}"
        return Blocker(what, "a link is in its place", hint)
    if kind != "file":
        return Blocker(what, f"a {kind} is in its place", f"move {path} away")
    if facts.get("large"):
        return Blocker(what, "it is larger than 1 MiB", "declare it as a whole, under files")
    if "\0" in str(facts.get("now") or ""):
        return Blocker(what, "it is not a text", "declare it as a whole, under files")
    return None


def _record(facts: Mapping[str, object]) -> Record | None:
    record = facts.get("record")
    return Record(**record) if isinstance(record, dict) else None


def _shown(path: str, now: str | None, made: str | None) -> str:
    before, after = (_bytes(t or "").decode(errors="replace") for t in (now, made))
    return text_diff(path, before, after)


def prune(name: str, view: View) -> Change:
    """Take out what was ours; a file that only held that goes."""
    found = view.found(NAME, name)
    facts = found.facts if found else {"now": None}
    now = facts.get("now")
    made, _ = result(now, _record(facts), (), "")
    before = None if now is None else hashlib.sha256(_bytes(now)).hexdigest()
    text = _shown(name, now, made) if made != now and not facts.get("large") else ""
    fields = (FieldDiff("content", before, None, text=text),) if made != now else ()
    found_before = is_found(NAME, name, view) or made is not None
    reason = "no longer declared" if now is not None else "no longer declared, and gone"
    action = Action.UPDATE if found_before else Action.DELETE
    return Change(action, f"{NAME} {name}", fields, reason=reason)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a file, from what is there now; text and record come on standard input."""
    return with_reload([_step(change, wanted[name_of(change)]) for change in changes])


def _step(change: Change, wanted: Wanted) -> Step:
    path, thing = quote(name_of(change)), quote(change.what)
    facts = wanted.found.facts if wanted.found else {"now": None}
    mark = str(wanted.fields.get("content", ""))
    now = facts.get("now")
    blocked = _blocked(change.what, facts)
    if blocked is not None:
        return Step((change,), f"echo {quote(f'{blocked.what}: {blocked.why}')}; exit 1")
    if facts.get("same"):
        return Step((change,), ":")
    made, base = result(now, _record(facts), wanted.edits, mark)
    lines, stdin = [f"set -- {path}"], b""
    if made != now:
        lines.append(_unchanged(now))
    record = b""
    if wanted.edits and made is not None:
        record = written(Record(mark, base, made))
        lines += [
            f"own {thing} {'made' if base is None else 'found'}",
            f'r={_NEXT}"$1"; mkdir -p -m 700 {_RECORDS} {_NEXT}; mkdir -p "${{r%/*}}"; rm -f "$r"',
            f'( umask 077; take "$r" {len(record)} )',
        ]
        stdin += record
    if made is None:
        lines.append('rm -f "$1"')
    elif made != now:
        content = _bytes(made)
        stdin += content
        lines += [
            'beside "$1"; [ ! -e "$1" ] || cp -a "$1" "$new"',
            f'take "$new" {len(content)}',
            'place "$1"',
        ]
    if record:
        lines.append(f'o={_RECORDS}"$1"; mkdir -p "${{o%/*}}"; mv -f "$r" "$o"')
    else:
        lines.append(f'rm -f {_RECORDS}"$1" {_NEXT}"$1"\ndisown {thing}')
    return Step((change,), "\n".join(lines), stdin)


def _unchanged(now: str | None) -> str:
    """What the new text was made from must still be there."""
    if now is None:
        return '[ ! -e "$1" ] || { echo "$1 was made meanwhile: once more"; exit 1; }'
    same = hashlib.sha256(_bytes(now)).hexdigest()
    return (
        f'case $(sha256sum <"$1") in {same}*) ;; *) '
        'echo "$1 was changed meanwhile: once more"; exit 1 ;; esac'
    )

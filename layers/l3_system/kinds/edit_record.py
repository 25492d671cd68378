"""What a host remembers of a file that we edit, and what follows from it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from layers.l3_system.kinds.editing import Edit, edited, merged, with_blocks


@dataclass(frozen=True, slots=True)
class Record:
    """What the host remembers of a file: which edits made ``written`` out of ``base``.

    ``base`` is ``None`` where the file was not there before us.
    """

    edits: str
    base: str | None
    written: str


def is_about(record: bytes, now: bytes) -> bool:
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
    return Record(words[0], None if words[2] == "-" else text_of(base), text_of(written))


def written(record: Record) -> bytes:
    """The record as the host keeps it: a line with its digests, then both texts."""
    base, made = bytes_of(record.base or ""), bytes_of(record.written)
    size = "-" if record.base is None else str(len(base))
    return f"{record.edits} {hashlib.sha256(made).hexdigest()} {size}\n".encode() + base + made


def text_of(content: bytes) -> str:
    """Any bytes as text; :func:`bytes_of` gives the same bytes again."""
    return content.decode(errors="surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode(errors="surrogateescape")


def result(
    now: str | None, record: Record | None, edits: Sequence[Edit], mark: str
) -> tuple[str | None, str | None]:
    """What the file is to be (``None``: not there), and what it is without the edits.

    ``mark`` is what the record calls these edits.
    """
    if record is None or now is None:
        made = edited(now or "", edits)
        return (None if now is None and not made else made), now
    before = record.base or ""
    alone = edited(before, edits)  # what it would be if nobody else had changed it
    if record.edits == mark and edited(now, edits) == now:
        made = now
    else:
        # of edits that were damaged nothing may remain: they are taken out, and made once more
        wanted = before if record.edits == mark else alone
        whole = with_blocks(record.written, now)
        made = edited(merged(record.written, whole, wanted), edits)
    base = merged(alone, made, before)
    gone = record.base is None and not base
    return (None if gone and not made else made), (None if gone else base)

"""Width, signs and the pieces that every rendering is made of."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from lab.masking import mask

Piece = str | tuple[str, str] | Text

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)


@dataclass(frozen=True)
class Signs:
    """Every character that is not plain ASCII, so that a terminal without them gets others."""

    ok: str = "✓"
    bad: str = "✗"
    warn: str = "!"
    skip: str = "·"
    change: str = "~"
    arrow: str = "→"
    more: str = "…"
    dot: str = "·"
    bar: str = "━"
    rest: str = "─"
    edge: str = "│"
    spin: tuple[str, ...] = ("⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏")


ASCII = Signs(
    ok="v",
    bad="x",
    skip=".",
    arrow="->",
    more="...",
    dot="-",
    bar="#",
    rest=".",
    edge="|",
    spin=("|", "/", "-", "\\"),
)


@dataclass(frozen=True)
class Look:
    """How wide, and with which signs.

    ``full`` shows what is otherwise cut short; without ``wraps`` a sentence stays on one line, as
    files and pipes want it.
    """

    width: int = 80
    signs: Signs = field(default_factory=Signs)
    full: bool = False
    wraps: bool = True


def clean(text: str) -> str:
    """User or remote text without the characters that steer a terminal or reorder a line.

    A tab becomes spaces; every other one is shown as its escape sequence. Secrets are masked.
    """
    text = mask(text)
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(_escaped, text.replace("\t", "    "))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004  (a byte)


def line(*pieces: Piece) -> Text:
    """One line of text from pieces, each plain or with its style; never read as markup."""
    text = Text(no_wrap=True)
    for piece in pieces:
        if isinstance(piece, Text):
            text.append_text(piece)
        elif isinstance(piece, str):
            text.append(clean(piece))
        else:
            text.append(clean(piece[0]), style=piece[1])
    return text


def fit(text: str, width: int, more: str = "…") -> str:
    """The text in at most ``width`` cells, its end replaced by ``more`` where it is longer.

    Secrets are masked first: half of one would not be found any more.
    """
    text = mask(text)
    if cell_len(text) <= width:
        return text
    if width <= cell_len(more):
        return set_cell_size(text, max(width, 0))
    return set_cell_size(text, width - cell_len(more)).rstrip() + more


def pad(text: str, width: int) -> str:
    """The text filled up with spaces to ``width`` cells; longer text stays whole."""
    return text + " " * max(0, width - cell_len(text))


def prose(text: str, look: Look, indent: int, style: str = "", first: str = "") -> list[Text]:
    """Sentences in lines of at most the width; words (paths, commands) are never broken.

    ``first`` stands before the first line, inside the indent of the others.
    """
    lines: list[Text] = []
    margin = " " * indent
    for number, paragraph in enumerate(clean_lines(text)):
        wrapped = textwrap.wrap(
            paragraph,
            width=max(look.width - indent, 20) if look.wraps else 1_000_000,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for position, part in enumerate(wrapped or [""]):
            lead = pad(first, indent) if number == position == 0 and first else margin
            lines.append(line(lead, (part, style)))
    return lines


def clean_lines(text: str) -> list[str]:
    """The lines of a text, each neutralised."""
    return [clean(part) for part in mask(text).splitlines()] or [""]


def show_seconds(seconds: float) -> str:
    """``0.3s``, ``38s``, ``1m 05s``, ``2h 03m``."""
    if seconds < 9.95:  # noqa: PLR2004  (one decimal up to ten)
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def show_age(then: datetime, now: datetime) -> str:
    """``just now``, ``5m ago``, ``3h ago``, ``12d ago``."""
    seconds = (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return "just now"


def host_name(host: str) -> str:
    """The host's name; what belongs to no host alone (an unused template) is everybody's."""
    return host or "(shared)"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 host``, ``1,200 hosts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def title_of(layer: str, titles: dict[str, str] | None = None, part: str = "") -> str:
    """``l2 machine`` of ``l2_instantiate``: what users type; ``l4 start`` of a named part."""
    short, _, rest = layer.partition("_")
    if part:
        return f"{short} {part}"
    word = (titles or {}).get(layer, rest)
    return f"{short} {word}".strip()

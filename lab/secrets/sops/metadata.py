"""What the ``sops`` section of a file says: who may read it, what is encrypted, its MAC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.secrets.sops.tree import Branch, Item, plain, tree_of, wrong

VERSION = "3.13.3"  # of upstream, whose format this is
SUFFIX = "_unencrypted"
PUBLIC = r"(^|_)public$"
"""What stays readable in files that we begin: the public halves of keys."""
_OTHER_KEYS = ("pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault")
RULES = (
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
)
_REGEX_LENGTH = 256
_REPEATS = 2
_TESTED = 128  # characters of a key that a regular expression gets to see


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values of a file are encrypted: one of RULES and its word."""

    kind: str = "unencrypted_suffix"
    word: str = SUFFIX

    def encrypts(
        self, path: Sequence[str], comments: Sequence[Sequence[str]], *, own: bool
    ) -> bool:
        """Whether the value at that path is encrypted; ``own``: it is the last comment itself."""
        if self.kind.endswith("suffix"):
            hit = any(key.endswith(self.word) for key in path)
        elif "comment" in self.kind:
            above = [text for level in comments for text in level]
            if own and self.kind.startswith("encrypted"):
                above = above[:-1]  # the comment that asks for it stays readable
            hit = any(self._matches(text) for text in above)
        else:
            hit = any(self._matches(key) for key in path)
        return hit if self.kind.startswith("encrypted") else not hit

    def _matches(self, text: str) -> bool:
        return re.search(self.word, text[:_TESTED]) is not None


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The data key for one recipient: an age or ssh public key, and an armored age file."""

    recipient: str
    enc: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The section, checked.

    Attributes:
        age: The data key for each recipient.
        others: Kinds of other keys (``"pgp"``) that may read the file as well.
        modified: RFC 3339; the MAC is bound to it.
        mac: Encrypted; ``""`` where there is none.
        whole: The section as it was read: what is not known here is written back.
    """

    age: tuple[Wrapped, ...]
    rule: Rule = Rule()
    modified: str = ""
    mac: str = ""
    mac_only_encrypted: bool = False
    others: tuple[str, ...] = ()
    whole: Branch | None = None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Their public keys."""
        return tuple(w.recipient for w in self.age)

    def tree(self) -> Branch:
        """The section for the file; what was there keeps its place."""
        tree = self.whole if self.whole is not None else Branch()
        known = {w["recipient"]: w for w in _ages(tree)}
        wrapped = [
            {**known.get(w.recipient, {}), "enc": w.enc, "recipient": w.recipient} for w in self.age
        ]
        new = Branch([Item(i.key, i.value) for i in tree.items])
        values: dict[str, Any] = {
            "age": tree_of(wrapped), "lastmodified": self.modified, "mac": self.mac,
        }  # fmt: skip
        if self.whole is None:
            values[self.rule.kind] = self.rule.word
            values |= {"mac_only_encrypted": True} if self.mac_only_encrypted else {}
            values["version"] = VERSION
        for key in sorted(values):
            new.put(key, values[key])
        return new

    def renewed(self, age: Sequence[Wrapped]) -> Metadata:
        """The same with other recipients."""
        return replace(self, age=tuple(age))


def _ages(tree: Branch) -> list[dict[str, Any]]:
    found = plain(tree.get("age"))
    return [a for a in found if isinstance(a, dict)] if isinstance(found, list) else []


def read_metadata(tree: Any, name: str) -> Metadata:
    """Check the section. Raises ConfigError naming the file."""
    if not isinstance(tree, Branch):
        raise wrong(name, "", "its 'sops' section is not a mapping")
    whole = Branch([Item(i.key, i.value) for i in tree.items])
    said = plain(whole)
    if said.get("key_groups"):
        raise wrong(
            name, "", "its key is split over several key groups (Shamir), which is not supported:"
            " give it one group with: sops groups"
        )  # fmt: skip
    age = _wrapped(said.get("age"), name)
    others = tuple(k for k in _OTHER_KEYS if said.get(k))
    if not age:
        kinds = f" but {', '.join(others)}" if others else ""
        raise wrong(name, "", f"no age key can read it: its 'sops' section names none{kinds}")
    modified, mac = said.get("lastmodified"), said.get("mac") or ""
    if not isinstance(modified, str) or not isinstance(mac, str) or len(modified) > 64:  # noqa: PLR2004
        raise wrong(name, "", "its 'sops' section holds no lastmodified and mac")
    return Metadata(
        age=age,
        rule=_rule(said, name),
        modified=modified,
        mac=mac,
        mac_only_encrypted=str(said.get("mac_only_encrypted", "")).lower() in {"true", "1"},
        others=others,
        whole=whole,
    )


def _wrapped(entries: Any, name: str) -> tuple[Wrapped, ...]:
    found = []
    for entry in entries if isinstance(entries, list) else ():
        fields = entry if isinstance(entry, dict) else {}
        recipient, enc = fields.get("recipient"), fields.get("enc")
        if not isinstance(recipient, str) or not isinstance(enc, str):
            raise wrong(name, "", "an age key in its 'sops' section lacks recipient or enc")
        found.append(Wrapped(recipient, enc))
    return tuple(found)


def _rule(said: dict[str, Any], name: str) -> Rule:
    given = [(kind, said[kind]) for kind in RULES if said.get(kind)]
    if len(given) > 1:
        both = " and ".join(kind for kind, _ in given)
        raise wrong(name, "", f"its 'sops' section has {both}: only one of them can hold")
    if not given:
        return Rule()
    kind, word = given[0]
    if kind.endswith("regex"):
        check_regex(str(word), name, kind)
    return Rule(kind, str(word))


def check_regex(word: str, name: str, kind: str) -> None:
    """Raise ConfigError for an expression that could take for ever, or means something else here.

    Upstream runs them in time that grows with the text; Python may not.
    """
    short = word[: _REGEX_LENGTH + 1]
    bare = re.sub(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", "c", re.sub(r"\\[^bB1-9]", "c", short))
    intricate = (
        len(word) > _REGEX_LENGTH
        or re.search(r"\)[*+{]", bare)
        or re.search(r"\(\?[=!<P&#]|\\[1-9]", bare)
        or len(re.findall(r"[*+{]", bare)) > _REPEATS
    )
    if intricate:
        raise wrong(name, "", f"its {kind} is too intricate to be run safely: {word[:60]}")
    try:
        re.compile(word)
    except (re.error, OverflowError, RecursionError):
        raise wrong(name, "", f"its {kind} is not a regular expression: {word[:60]}") from None

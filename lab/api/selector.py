"""``host=web1,persona=media tag=edge``: which hosts a command is about."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from lab.errors import ConfigError, Problem
from lab.model.host import Host

KEYS = ("host", "persona", "tag", "provider")


def select(hosts: Iterable[Host], words: Iterable[str]) -> tuple[Host, ...]:
    """The hosts that match, in their order.

    Values of one key are alternatives (``host=a,host=b`` or ``host=a host=b``), keys narrow each
    other down. No words: all. Raises ConfigError for an unknown key or value.
    """
    everything = tuple(hosts)
    wanted: dict[str, set[str]] = {}
    problems: list[Problem] = []
    for word in (w.strip() for words_ in words for w in words_.split(",")):
        key, equals, value = word.partition("=")
        if not equals or not value:
            problems.append(Problem("", f"{word!r} is not a selector: write host={word or 'NAME'}"))
        elif key not in KEYS:
            near = get_close_matches(key, KEYS, n=1)
            mean = f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(KEYS)})"
            problems.append(Problem("", f"unknown selector {key!r}{mean}"))
        else:
            wanted.setdefault(key, set()).add(value)
    known = {key: {v for h in everything for v in _values(h, key)} for key in wanted}
    for key, values in wanted.items():
        for value in sorted(values - known[key]):
            near = get_close_matches(value, known[key], n=1)
            mean = f"; did you mean {near[0]!r}?" if near else ""
            problems.append(Problem("", f"no host has {key}={value}{mean}"))
    if problems:
        raise ConfigError(problems)
    chosen = tuple(
        h for h in everything if all(_values(h, k) & values for k, values in wanted.items())
    )
    if wanted and not chosen:
        said = ",".join(f"{k}={v}" for k, vs in wanted.items() for v in sorted(vs))
        raise ConfigError([Problem("", f"no host matches all of {said}")])
    return chosen


def _values(host: Host, key: str) -> set[str]:
    if key == "tag":
        return set(host.tags)
    return {{"host": host.name, "persona": host.persona, "provider": host.provider}[key]}

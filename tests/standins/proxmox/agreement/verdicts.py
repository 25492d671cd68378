"""The stand-in's validator against the real one's verdicts."""

from __future__ import annotations

from typing import Any

from tests.standins.proxmox import schema, validation

from . import Miss, Score, lines


def score() -> Score:
    """Ask every recorded question again: verdict, keys of the errors, and their texts."""
    known = schema.load()
    found = Score()
    for number, record in enumerate(lines("verdicts.jsonl"), 1):
        where = f"verdict {number} {record['method']} {record['path']} {record['params']}"
        match = known.find(record["method"], record["path"])
        real: dict[str, str] = record.get("errors") or {}
        if match is None:
            found.count("verdict", [Miss(where, "verdict", record["code"], "no such method")])
            continue
        ours = validation.errors_of(match.method, {**match.places, **record["params"]})
        accepted = record["code"] == 200
        found.count("verdict", _unless(where, "verdict", accepted, not ours))
        found.count("keys", _unless(where, "keys", sorted(real), sorted(ours)))
        found.count("texts", _unless(where, "texts", _sorted(real), _sorted(ours)))
    return found


def _unless(where: str, aspect: str, real: Any, ours: Any) -> list[Miss]:
    return [] if real == ours else [Miss(where, aspect, real, ours)]


def _sorted(errors: dict[str, str]) -> dict[str, list[str]]:
    """The lines of each text: their order is that of a hash in Perl, another in every run."""
    return {key: sorted(one for one in text.split("\n") if one) for key, text in errors.items()}

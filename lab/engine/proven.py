"""Which data has captures: what must never be begun anew by mistake."""

from __future__ import annotations

from lab.journal import Journal


def captured_at(journal: Journal) -> dict[str, dict[str, float]]:
    """Host to set of data to when its newest good capture that holds anything was taken."""
    found: dict[str, dict[str, float]] = {}
    for record in journal.captures():  # the newest first
        if not record.flagged and record.size:
            found.setdefault(record.host, {}).setdefault(record.data, record.at)
    return found

"""`just pve-agreement`: the table of what agrees with the real API, and every miss."""

from __future__ import annotations

import sys

from tests.standins.proxmox import SchemaMissingError

from . import DATA, Score, recordings, verdicts

_ABSENT = 5


def main() -> int:
    """Print the table; 0 where everything agrees, 1 where something does not."""
    try:
        scores = {"verdicts": verdicts.score(), "recordings": recordings.score()}
    except FileNotFoundError as fault:
        sys.stderr.write(
            f"Unable to compare with the real API: {fault.filename} is not there.\n"
            f"Try: put verdicts.jsonl and recordings.jsonl into {DATA}\n"
        )
        return _ABSENT
    except SchemaMissingError as fault:
        sys.stderr.write(f"Unable to compare with the real API: {fault}\n")
        return _ABSENT
    sys.stdout.write(table(scores))
    return int(any(one.misses for one in scores.values()))


def table(scores: dict[str, Score]) -> str:
    """The table, then the misses, a line each."""
    rows = [f"{'compared over':<14}{'aspect':<10}{'agree':>7}{'of':>7}{'share':>9}"]
    for name, score in scores.items():
        for aspect, asked in score.asked.items():
            share = f"{100 * score.share(aspect):.1f} %"
            rows.append(f"{name:<14}{aspect:<10}{score.agreed[aspect]:>7}{asked:>7}{share:>9}")
    misses = [str(one) for score in scores.values() for one in score.misses]
    rows += ["", f"{len(misses)} misses" if misses else "no misses", *misses]
    return "\n".join(rows) + "\n"


sys.exit(main())

"""What was done, by whom, and what is ours: SQLite; and who may work on a host: flock.

Reading never writes. Locks die with their process, so that nobody ever unlocks by hand. A file that
is damaged, cut short or from a newer Strata is refused, and never written to.

Belongs here: the record of runs, the ledger, the locks. Does not belong here: what a run does.
"""

from lab.journal.locks import (
    Waiting,
    claim,
    command_line,
    held_by,
    holder_of,
    holders,
    locked,
    who,
)
from lab.journal.past import Asked, ChangePast, PartPast, RunPast, Touched
from lab.journal.records import Holder, Look, Owned, PartRecord, RunRecord, Score
from lab.journal.store import Journal, commit_of

__all__ = [
    "Asked",
    "ChangePast",
    "Holder",
    "Journal",
    "Look",
    "Owned",
    "PartPast",
    "PartRecord",
    "RunPast",
    "RunRecord",
    "Score",
    "Touched",
    "Waiting",
    "claim",
    "command_line",
    "commit_of",
    "held_by",
    "holder_of",
    "holders",
    "locked",
    "who",
]

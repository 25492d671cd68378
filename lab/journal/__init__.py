"""What was done, by whom, and what is ours: SQLite; and who may work on a host: flock.

Reading never writes. Locks die with their process, so that nobody ever unlocks by hand. A file that
is damaged, cut short or from a newer Strata is refused, and never written to.

Belongs here: the record of runs, the ledger, the locks. Does not belong here: what a run does.
"""

from lab.journal.locks import Waiting, command_line, held_by, locked, who
from lab.journal.past import Asked, ChangePast, PartPast, RunPast, Touched
from lab.journal.records import Owned, PartRecord, RunRecord, Score
from lab.journal.store import Journal, commit_of

__all__ = [
    "Asked",
    "ChangePast",
    "Journal",
    "Owned",
    "PartPast",
    "PartRecord",
    "RunPast",
    "RunRecord",
    "Score",
    "Touched",
    "Waiting",
    "command_line",
    "commit_of",
    "held_by",
    "locked",
    "who",
]

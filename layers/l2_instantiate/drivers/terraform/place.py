"""What is kept on this machine about one machine of Proxmox VE, and how its things are marked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lab.errors import DriverError
from layers.l2_instantiate import isolation
from layers.l2_instantiate.home import Home, Kept, private_folder, read_kept, replace
from layers.l2_instantiate.login import Door

MACHINE, SHELF = "machine", "disks"
_MARK = re.compile(r"^strata: (\{.*\})\s*$", re.MULTILINE)
_ABOUT = {
    MACHINE: "Made by Strata. What it is like stands in the lab's files; edits here are undone.",
    SHELF: "Made by Strata, never started: it keeps the disks of a machine, whatever becomes of "
    "that machine. Removing it removes them.",
}


class Pending(Kept):
    """An archive of a boot disk on its way: kept before its task is asked for, until it counts.

    ``ran``: the machine ran before. ``upid`` is ``""`` until the node has told it.
    """

    id: str
    live: bool
    ran: bool
    node: str
    storage: str
    begun: float
    upid: str = ""


class Record(Kept):
    """``machine.json``: which VMIDs are this host's, and what its machine was given.

    ``vmid`` and ``shelf`` are chosen before anything is made, and 0 where nothing is. ``whole`` is
    said when making it came to its end. ``answered`` is when a login was last seen to work.
    ``archive`` is one on its way, and ``left_out`` the volumes that were kept out of it: they go
    into everybody's backups again as soon as it has ended.
    ``walled`` is when the rules of its firewall were last changed.
    """

    lab: str
    host: str
    vmid: int = 0
    node: str = ""
    shelf: int = 0
    whole: bool = False
    seed: str = ""
    user: str = ""
    authorized_keys: tuple[str, ...] = ()
    host_key: str = ""
    identity: str = ""
    told: str = ""
    answered: float = 0.0
    address: str = ""
    root_at_boot: int = 0
    archive: Pending | None = None
    left_out: tuple[str, ...] = ()
    walled: float = 0.0


@dataclass(frozen=True)
class Mark:
    """Whose a machine is: a line of JSON in its description, there from its first moment.

    Tags say so, too, for people; a clone has its template's tags until it is given its own.
    """

    lab: str
    host: str
    part: str
    more: dict[str, Any]

    @property
    def text(self) -> str:
        """The whole description."""
        words = {"lab": self.lab, "host": self.host, "part": self.part, **self.more}
        return f"{_ABOUT[self.part]}\n\nstrata: {json.dumps(words, sort_keys=True)}\n"


def mark_in(description: str) -> Mark | None:
    """The mark that a description holds; ``None`` where it holds none that can be read."""
    found = _MARK.search(description)
    if found is None:
        return None
    try:
        words = json.loads(found[1])
        return Mark(words.pop("lab"), words.pop("host"), words.pop("part"), words)
    except (ValueError, KeyError, AttributeError):
        return None


@dataclass(frozen=True)
class Place(Home):
    """One host's machine. ``isolated``: its twin's, which has a name and tags of its own."""

    isolated: bool = False

    @property
    def called(self) -> str:
        """The machine's name on the node."""
        return isolation.called(self.host, isolated=self.isolated)

    @property
    def marks(self) -> tuple[str, ...]:
        """The tags of what is the host's."""
        return isolation.marks(self.host, isolated=self.isolated)

    def mark(self, part: str, **more: Any) -> Mark:
        """The mark of one of its two parts."""
        return Mark(self.workspace.lab, self.host, part, more)

    def is_ours(self, mark: Mark | None, part: str) -> bool:
        """Whether that is this host's part."""
        whose = mark and (mark.lab, mark.host, mark.part)
        return whose == (self.workspace.lab, self.host, part)

    @property
    def project(self) -> Any:
        """Tofu's configuration and state."""
        return self.workspace.state / "tofu" / self.host

    def read(self) -> Record:
        """The record; an empty one where there is none that can be read, or it is another lab's."""
        record = read_kept(self.record, Record)
        if record is None or record.lab != self.workspace.lab:
            return Record(lab=self.workspace.lab, host=self.host)
        return record

    def note(self, **what: Any) -> Record:
        """Keep more of it, whole or not at all; makes the folder."""
        record = self.read().model_copy(update=what)
        private_folder(self.home)
        replace(self.record, record.model_dump_json(indent=2).encode())
        return record

    def door(self, address: str) -> Door:
        """Where the lab comes in."""
        record = self.read()
        if not address:
            raise DriverError(
                f"Unable to log in to {self.host}: it has no address, and its guest agent tells "
                "none.",
                hint=f"write address: 192.0.2.11/24 for {self.host} in the inventory",
            )
        return Door(22, record.user, record.host_key, address)

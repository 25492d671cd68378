"""What is kept on this machine about one container, and what the engine calls its things."""

from __future__ import annotations

from dataclasses import dataclass

from lab.clients.docker import Engine
from lab.errors import DriverError
from lab.model.mark import HOST, LAB
from layers.l2_instantiate.home import Home, Kept, private_folder, read_kept, replace
from layers.l2_instantiate.login import Door


class Record(Kept):
    """``machine.json``: whose machine it is, and what its container was given.

    ``container`` is the engine's identity of the one that ``user`` and what follows were given to.
    """

    lab: str
    host: str
    port: int
    container: str = ""
    user: str = ""
    authorized_keys: tuple[str, ...] = ()
    host_key: str = ""
    identity: str = ""
    answered: bool = False

    @property
    def door(self) -> Door:
        """Where the lab comes in."""
        return Door(self.port, self.user, self.host_key)


@dataclass(frozen=True)
class Place(Home):
    """One machine that is a container of ``engine``."""

    engine: Engine

    @property
    def name(self) -> str:
        """Its container."""
        return f"strata-{self.workspace.lab}-{self.host}"

    @property
    def labels(self) -> dict[str, str]:
        """Our mark, on everything of this machine."""
        return {LAB: self.workspace.lab, HOST: self.host}

    def volume(self, disk: str) -> str:
        """That disk's volume."""
        return f"{self.name}-{disk}"

    def is_ours(self, labels: dict[str, str]) -> bool:
        """Whether labels are this machine's mark."""
        return all(labels.get(key) == value for key, value in self.labels.items())

    def read(self) -> Record | None:
        """The record; ``None`` where there is none that can be read, or it is another lab's."""
        record = read_kept(self.record, Record)
        ours = record is not None and record.lab == self.workspace.lab
        return record if ours else None

    def write(self, record: Record) -> None:
        """Keep the record, whole or not at all; makes the folder."""
        private_folder(self.home)
        replace(self.record, record.model_dump_json(indent=2).encode())

    def require(self) -> Record:
        """The record of a machine that must be there. Raises DriverError."""
        record = self.read()
        if record is None:
            raise DriverError(
                f"Unable to change {self.host}: {self.record} is gone.",
                hint=f"lab plan host={self.host}",
            )
        return record

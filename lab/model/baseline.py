"""What a machine made from an image is like before anything was done to it.

L1 records it beside the image; L3 plans against it while the machine does not exist yet.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Account(BaseModel):
    """One user of the image."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uid: int
    gid: int
    home: str
    shell: str
    groups: tuple[str, ...] = ()


class Baseline(BaseModel):
    """The operating system as the image holds it.

    Attributes:
        complete: False when the image is not built yet and only its definition is known.
        packages: Name to version; ``""`` where only the definition is known.
        users: By name.
        groups: Name to gid.
        units: Unit name to what ``systemctl is-enabled`` would say.
        conffiles: Path to the SHA-256 of the packaged configuration file.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    complete: bool = False
    distribution: str = ""
    release: str = ""
    packages: dict[str, str] = {}
    users: dict[str, Account] = {}
    groups: dict[str, int] = {}
    units: dict[str, str] = {}
    conffiles: dict[str, str] = {}

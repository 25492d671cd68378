"""VMIDs: chosen by us, because the API's own next one is reserved for nobody."""

from __future__ import annotations

import hashlib
import threading

from lab.clients.proxmox import Api
from lab.errors import DriverError
from layers.l2_instantiate.drivers.terraform import guests
from layers.l2_instantiate.drivers.terraform.place import Place
from layers.l2_instantiate.proxmox import ProxmoxProvider


class Numbers:
    """Those that this run has promised to its hosts, so that no two get the same."""

    def __init__(self, workspace: object) -> None:
        del workspace
        self._promised: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()

    def choose(self, api: Api, provider: ProxmoxProvider, place: Place, part: str) -> int:
        """A free one of the provider's range; for the same host the same, wherever possible."""
        who = f"{place.workspace.lab} {place.host} {part}"
        name = "drills" if provider.isolated else "machines"
        ids = provider.vmids.drills if provider.isolated else provider.vmids.machines
        start = int.from_bytes(hashlib.sha256(who.encode()).digest()[:4], "big")
        taken = guests.rows(api)
        for step in range(len(ids.numbers)):
            number = ids.first + (start + step) % len(ids.numbers)
            if number in taken or not self._promise(provider.url, number, who):
                continue
            if api.id_is_free(number):
                return number
        raise DriverError(
            f"Unable to make {place.host}: all VMIDs from {ids} are taken.",
            hint=f"write a wider range: vmids: {{{name}: …}} of the provider in lab.yaml",
        )

    def _promise(self, url: str, number: int, who: str) -> bool:
        with self._lock:
            return self._promised.setdefault((url, number), who) == who

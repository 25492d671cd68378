"""The seed: a small CD from which cloud-init learns the host's name, login, identity and network.

It is uploaded like any other ISO image, with the API alone: snippets would need a login to the
node. Its name tells what is on it (a digest of everything but the private key).
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.clients import iso
from lab.clients.proxmox import Api, Refused, Sent, wait
from lab.faults import point
from layers.l2_instantiate import keys
from layers.l2_instantiate.cards import Network
from layers.l2_instantiate.drivers.terraform.place import Place
from layers.l2_instantiate.firstboot import FirstBoot
from layers.l2_instantiate.machines import Machine
from layers.l2_instantiate.settings import address_line, mac, on
from layers.l2_instantiate.wanted import Machine as Target

_DEADLINE = 300.0


@dataclass(frozen=True)
class Seed:
    """One CD, not yet written."""

    place: Place
    storage: str
    content: FirstBoot

    @property
    def name(self) -> str:
        """Its file."""
        digest = self.content.digest(self.content.network_config())
        # A host's name has no dot: no other lab's or host's begins like this.
        return f"strata-{self.place.workspace.lab}.{self.place.host}-{digest}.iso"

    @property
    def volume(self) -> str:
        """As the API calls it."""
        return f"{self.storage}:iso/{self.name}"


def of(target: Target, place: Place, host_key: str, identity: str) -> Seed:
    """The seed that the machine is to have."""
    provider, machine = on(target), target.spec.machine
    login = machine.login
    network = machine.network or Network()
    content = FirstBoot(
        host=place.host,
        user=login.user,
        keys=(f"{identity} strata", *login.key_lines),
        host_key=host_key,
        mac=network.mac or mac(provider, place.host),
        address=target.host.address,
        network=network,
    )
    return Seed(place, provider.seed_storage, content)


def wanted(target: Target, place: Place) -> Seed | None:
    """The same, read-only; ``None`` while its keys are not made, or where there is no seed."""
    if not isinstance(target.spec.machine, Machine):
        return None
    host_key, identity = keys.read_host_key(place), keys.read_login_key(place)
    return of(target, place, host_key, identity) if host_key and identity else None


def told(target: Target) -> dict[str, object]:
    """What the record keeps of what a seed says."""
    login = target.spec.machine.login
    return {
        "user": login.user,
        "authorized_keys": login.key_lines,
        "told": address_line(target),
    }


def bring(api: Api, node: str, seed: Seed) -> None:
    """Have it lie on the node's storage; one that lies there already is what it is called."""
    if any(v.name == seed.volume for v in api.volumes(node, seed.storage, "iso")):
        return
    private, _ = keys.host_key_files(seed.place)
    doing = f"bring the first boot's words of {seed.place.host} to {seed.storage}"
    image = _image(seed, private.read_text(encoding="ascii"))
    with tempfile.NamedTemporaryFile(dir=seed.place.workspace.runtime, suffix=".iso") as file:
        file.write(image)
        file.flush()
        sent = Sent(Path(file.name), seed.name, lambda done, total: None)  # noqa: ARG005
        upid = api.upload(
            f"nodes/{node}/storage/{seed.storage}/upload", sent, doing=doing, content="iso"
        )
    if upid:
        wait(api, str(upid), doing=doing, deadline=_DEADLINE)
    point("l2.seed.brought")


def sweep(api: Api, place: Place, node: str, storage: str, keep: str = "") -> None:
    """Remove this host's seeds but ``keep``: each holds a private key."""
    whose = re.escape(f"strata-{place.workspace.lab}.{place.host}")
    own = re.compile(rf":iso/{whose}-[0-9a-f]{{12}}\.iso$")
    for volume in api.volumes(node, storage, "iso"):
        if own.search(volume.name) and volume.name != keep:
            path = f"nodes/{node}/storage/{storage}/content/{volume.name}"
            doing = f"remove a seed of {place.host}"
            try:
                upid = api.delete(path, doing=doing)
            except Refused as refused:
                if not refused.is_absent:
                    raise
                continue
            if upid:
                wait(api, str(upid), doing=doing, deadline=_DEADLINE)


def _image(seed: Seed, private_host_key: str) -> bytes:
    files = {
        "user-data": seed.content.user_data(private_host_key),
        "meta-data": seed.content.meta_data(f"{seed.place.host}-{seed.name[-16:-4]}"),
        "network-config": seed.content.network_config(),
    }
    return iso.written(files, doing=f"make {seed.place.host}")

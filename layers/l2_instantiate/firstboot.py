"""What cloud-init is told before a machine first starts: its name, login, identity and network."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

from layers.l2_instantiate.cards import Network


@dataclass(frozen=True, slots=True)
class FirstBoot:
    """One machine's.

    Attributes:
        keys: Lines for ``authorized_keys``, the lab's own among them.
        host_key: The public half of the key that it is to be known by.
        mac: Its card, where its network is told; ``""``: it finds out by itself.
    """

    host: str
    user: str
    keys: tuple[str, ...]
    host_key: str
    mac: str = ""
    address: str | None = None
    network: Network = field(default_factory=Network)

    def user_data(self, private_host_key: str) -> str:
        """The cloud-config: JSON, which is YAML, so that no value can break out of its place."""
        config = {
            "users": [
                {
                    "name": self.user,
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "shell": "/bin/bash",
                    "lock_passwd": True,
                    "ssh_authorized_keys": list(self.keys),
                }
            ],
            "disable_root": True,
            "ssh_pwauth": False,
            "ssh_deletekeys": False,
            "ssh_genkeytypes": [],
            "ssh_keys": {"ed25519_private": private_host_key, "ed25519_public": self.host_key},
            "growpart": {"mode": "auto", "devices": ["/"]},
            "resize_rootfs": True,
        }
        return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"

    def meta_data(self, instance: str) -> str:
        """The instance: another one whenever the guest must read its seed again."""
        return json.dumps({"instance-id": instance, "local-hostname": self.host}) + "\n"

    def network_config(self) -> str:
        """Its one card, by its address on the wire: a static address, or DHCP."""
        card: dict[str, Any] = {"match": {"macaddress": self.mac.lower()}}
        if self.address is None:
            card["dhcp4"] = True
        else:
            card["addresses"] = [self.address]
            if self.network.gateway:
                six = ipaddress.ip_address(self.network.gateway).version == 6  # noqa: PLR2004
                card["routes"] = [
                    {"to": "::/0" if six else "0.0.0.0/0", "via": self.network.gateway}
                ]
            names = {"addresses": list(self.network.dns), "search": [self.network.domain]}
            card["nameservers"] = {k: v for k, v in names.items() if v not in ([], [None])}
        return json.dumps({"version": 2, "ethernets": {"lan": card}}, indent=1) + "\n"

    def digest(self, *more: str) -> str:
        """Twelve digits that change with what the guest reads. No secret is in them."""
        words = [self.user, *self.keys, self.host_key, *more]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]

"""What makes a machine the one that others know, so that a rebuilt one is the same to them.

Its SSH host keys, its machine-id, its WireGuard keys, as they are on it. What the lab itself made
for it (a host key, ADR 10) is the lab's, and part of the lab's own capture.
"""

from __future__ import annotations

from lab.config.datasets import IDENTITY
from lab.model.dataset import DataSet

HOST_KEYS = "/etc/ssh/ssh_host_*_key*"
MACHINE_ID = "/etc/machine-id"
WIREGUARD = "/etc/wireguard"

IDENTITY_SET = DataSet(IDENTITY, paths=(MACHINE_ID, HOST_KEYS, WIREGUARD), optional=True)

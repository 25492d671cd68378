"""Words in, the scenario of tests/e2e/test_proxmox.py on that node, its exit code out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

USAGE = """\
just test-pve url=https://pve.lan:8006 token=root@pam!t1=… WORD=VALUE …

  url          the API of the node
  token        user@realm!id=value; left out, the environment's STRATA_PVE_TOKEN
  fingerprint  SHA-256 of its certificate; left out, this machine's authorities decide
  node         pve1
  storage      for disks: local-lvm
  bridge       vmbr0
  vlan         left out: untagged
  address      of the test's machine, free and reachable from here: 192.0.2.50/24; left out: DHCP
  gateway      goes with address
  base         what its template is made of: debian-13, which is built here
  backup_storage  takes backups; left out, no boot disk is captured

It makes a pool strata-test-…, a template and machines in it, and removes all of it at the end.
"""
WORDS = ("url", "token", "fingerprint", "node", "storage", "bridge", "vlan", "address", "gateway",
         "base", "backup_storage")  # fmt: skip
TEST = Path(__file__).parents[1] / "e2e" / "test_proxmox.py"


def main(words: list[str]) -> int:
    given = dict(word.partition("=")[::2] for word in words)
    unknown = sorted(set(given) - set(WORDS))
    token = given.get("token") or os.environ.get("STRATA_PVE_TOKEN", "")
    if unknown or not given.get("url") or not token:
        told = f"unknown: {', '.join(unknown)}\n\n" if unknown else ""
        sys.stderr.write(told + USAGE)
        return 3
    for name, value in {**given, "token": token}.items():
        os.environ[f"STRATA_PVE_{name.upper()}"] = value
    return int(pytest.main([str(TEST), "-v", "-rs", "-o", "addopts="]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

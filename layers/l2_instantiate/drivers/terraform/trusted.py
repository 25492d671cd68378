"""What the provider is given through its environment: the token, and whom it may believe."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from lab.clients.proxmox import Access
from lab.clients.proxmox.trust import certificate
from lab.layer import Workspace
from layers.l2_instantiate.home import private_folder, replace


def environment(workspace: Workspace, access: Access, *, alone: bool) -> dict[str, str]:
    """The token, and a file with the one certificate or authority that is to be believed.

    ``alone``: tofu talks to nobody else. Otherwise this machine's authorities stand beside it: the
    provider and tofu's backend read the same file.
    """
    token = access.token()
    found = {"PROXMOX_VE_API_TOKEN": f"{token.who}={token.value}"}
    pem = workspace.resource(Anchors).of(access)
    if not pem:
        return found
    if not alone:
        usual = ssl.get_default_verify_paths().cafile
        pem += Path(usual).read_text(encoding="utf-8") if usual else ""
    digest = hashlib.sha256(f"{access.url} {alone} {pem}".encode()).hexdigest()[:16]
    file = workspace.runtime / f"pve-{digest}.pem"
    if not file.is_file():
        private_folder(workspace.runtime)
        replace(file, pem.encode())
    return found | {"SSL_CERT_FILE": str(file)}


class Anchors:
    """The pinned certificates of a run, each fetched and compared once."""

    def __init__(self, workspace: object) -> None:
        del workspace
        self._found: dict[Access, str] = {}

    def of(self, access: Access) -> str:
        """In PEM; ``""``: this machine's own authorities decide."""
        if access.fingerprint is None:
            return access.ca
        if access not in self._found:
            self._found[access] = certificate(access)
        return self._found[access]

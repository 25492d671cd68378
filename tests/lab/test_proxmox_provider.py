"""What a provider of kind proxmox may say, and how a mistake in it is told."""

import pytest

from lab.config import inventory
from lab.errors import ConfigError
from layers import LAYERS
from layers.l2_instantiate.proxmox import ProxmoxProvider

PRINT = ":".join(["AB"] * 32)
PERSONA = "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\nsystem: none\n"


def lab_with(lab_dir, provider):
    files = {
        "lab.yaml": f"name: x\nproviders:\n  pve: {provider}\n",
        "personas/p.yaml": PERSONA,
        "inventory/hosts.yaml": "hosts: {a: {persona: p, provider: pve}}\n",
    }
    return lab_dir(files)


class Vault:
    def problem(self, name):
        return None

    def problems(self):
        return ()

    def fingerprint(self, name):
        return ""

    def reveal(self, name):
        return "root@pam!t1=secret"


def load(root):
    return inventory.load(root, LAYERS, Vault())


GOOD = (
    f'{{kind: proxmox, url: "https://PVE.lan:8006/", fingerprint: "{PRINT.lower()}", '
    "token: !secret pve, node: pve1, storage: local-zfs}"
)


def test_a_provider_with_only_what_must_be_said(lab_dir):
    host = load(lab_with(lab_dir, GOOD)).hosts["a"]
    (part,) = host.parts["l2_instantiate"]
    provider = part.spec.proxmox
    assert part.driver == "terraform"
    assert isinstance(provider, ProxmoxProvider)
    assert (provider.url, provider.fingerprint) == ("https://pve.lan:8006", PRINT)
    assert (provider.bridge, provider.template_storage, provider.pool) == ("vmbr0", "local", None)
    assert str(provider.vmids.templates) == "9000-9999"
    assert provider.token.reveal() == "root@pam!t1=secret"


def test_the_ledger_gives_the_same_provider_back_without_the_secret(lab_dir):
    (part,) = load(lab_with(lab_dir, GOOD)).hosts["a"].parts["l2_instantiate"]
    kept = part.spec.model_dump_json()
    assert "(secret pve)" in kept
    assert "root@pam" not in kept
    again = type(part.spec).model_validate_json(kept, context={"secrets": Vault()})
    assert again == part.spec


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("node: pve1", "nodee: pve1"), "unknown key 'nodee'; did you mean 'node'?"),
        (("node: pve1", "node: pve_1"), "'pve_1' is not the name of a node in Proxmox VE"),
        (("https://PVE.lan:8006/", "http://pve.lan:8006"), "write it https://pve.lan:8006"),
        (("https://PVE.lan:8006/", "https://u:p@pve.lan"), "write it https://pve.lan:8006"),
        ((PRINT.lower(), "ab:cd"), "a fingerprint is SHA-256, 32 pairs of hex digits"),
        (("token: !secret pve", "token: abc"), "this is a secret: write !secret and its name"),
        (("storage: local-zfs", "storage: 7"), "text is expected here, not '7'"),
        (("storage: local-zfs}", "storage: s1, vmids: {templates: 9}}"), "write it like 9000-9999"),
        (
            ("storage: local-zfs}", "storage: s1, vmids: {machines: 8000-8100}}"),
            "have VMIDs in common",
        ),
        (("storage: local-zfs}", "storage: s1, vlan: 5000}"), "less than or equal to 4094"),
        (("kind: proxmox", "kind: proxmx"), "known are: docker, existing, memory, proxmox, qemu"),
    ],
)
def test_mistakes_are_told_where_they_are(lab_dir, change, told):
    with pytest.raises(ConfigError) as raised:
        load(lab_with(lab_dir, GOOD.replace(*change)))
    assert told in str(raised.value)
    assert "lab.yaml:3:" in str(raised.value)


def test_a_certificate_authority_is_a_file_of_the_lab_and_excludes_a_fingerprint(lab_dir):
    root = lab_with(lab_dir, GOOD.replace("fingerprint:", "ca: ca.pem, fingerprint:"))
    (root / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match="write fingerprint or ca, not both"):
        load(root)
    (root / "ca.pem").write_text("nothing\n")
    with pytest.raises(ConfigError, match=r"ca\.pem is not a certificate in PEM form"):
        load(root)

"""What a token may do where: the rules by which the API reads its own answer."""

import pytest

from lab.clients.proxmox import Privileges

HELD = Privileges(
    {
        "/": {"Sys.Audit": 0},
        "/vms": {"VM.Audit": 1, "VM.Clone": 0},
        "/vms/101": {"VM.PowerMgmt": 1},
        "/storage/local": {"Datastore.Audit": 1},
        "/sdn/zones/localnetwork": {"SDN.Use": 1},
    }
)


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("/", {"Sys.Audit"}),
        ("/nodes/pve1", set()),
        ("/vms", {"VM.Audit", "VM.Clone"}),
        ("/vms/100", {"VM.Audit"}),
        ("/vms/101", {"VM.PowerMgmt"}),
        ("/storage/local", {"Datastore.Audit"}),
        ("/storage/other", set()),
        ("/sdn/zones/localnetwork/vmbr0/20", {"SDN.Use"}),
    ],
)
def test_the_nearest_listed_path_decides(path, held):
    assert HELD.at(path) == held


def test_what_is_lacking_and_who_is_powerless():
    assert HELD.lacking("/vms/101", ["VM.PowerMgmt", "VM.Audit", "VM.Clone"]) == (
        "VM.Audit",
        "VM.Clone",
    )
    assert not HELD.is_powerless
    assert Privileges({"/": {}}).is_powerless

"""The CD that a machine's first boot reads: what is on it, and what its name tells."""

import io
import json

import pycdlib
import pytest

from layers.l2_instantiate import keys
from layers.l2_instantiate.drivers.terraform import seed as seeds
from layers.l2_instantiate.drivers.terraform.place import Place


def read(image):
    disc = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(image))
    found = {}
    for name in ("user-data", "meta-data", "network-config"):
        file = io.BytesIO()
        disc.get_file_from_iso_fp(file, joliet_path=f"/{name}")
        found[name] = file.getvalue().decode()
    label = disc.pvd.volume_identifier.decode().strip()
    disc.close()
    return label, found


@pytest.fixture
def place(quiet_pve):
    made = Place(quiet_pve.workspace, "web1")
    keys.make_host_key(made)
    keys.make_login_key(made)
    return made


def test_cloud_init_finds_all_it_needs(quiet_pve, place):
    host = quiet_pve
    host.address = "192.0.2.11/24"
    host.machine = {
        **host.machine,
        "network": {"gateway": "192.0.2.1", "dns": ["192.0.2.1"], "domain": "home.arpa"},
    }
    seed = seeds.wanted(host.target(), place)
    private, public = keys.host_key_files(place)
    label, files = read(seeds._image(seed, private.read_text()))
    assert label == "CIDATA"
    told = json.loads(files["user-data"].removeprefix("#cloud-config\n"))
    assert told["ssh_keys"]["ed25519_private"] == private.read_text()
    assert public.read_text().startswith(told["ssh_keys"]["ed25519_public"])
    assert told["users"][0]["name"] == "strata"
    (card,) = json.loads(files["network-config"])["ethernets"].values()
    assert card["addresses"] == ["192.0.2.11/24"]
    assert card["routes"] == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}]
    assert card["nameservers"] == {"addresses": ["192.0.2.1"], "search": ["home.arpa"]}
    assert card["match"]["macaddress"].startswith("bc:24:11:")
    assert json.loads(files["meta-data"])["local-hostname"] == "web1"


def test_its_name_changes_with_what_the_guest_reads(quiet_pve, place):
    host = quiet_pve
    first = seeds.wanted(host.target(), place).name
    assert seeds.wanted(host.target(), place).name == first
    host.address = "192.0.2.12/24"
    second = seeds.wanted(host.target(), place).name
    host.machine = {**host.machine, "login": {"user": "ops"}}
    third = seeds.wanted(host.target(), place).name
    assert len({first, second, third}) == 3
    assert first.startswith("strata-demo.web1-")


def test_seeds_of_another_host_are_not_swept(quiet_pve, place):
    """web1 and web1-b, and a lab whose name goes on as ours does."""
    host = quiet_pve
    host.converge()
    others = ("strata-demo.web1-b-0123456789ab.iso", "strata-demo-x.web1-0123456789ab.iso")
    for name in (*others, "strata-demo.web1-0123456789ab.iso"):
        host.standin.add_file(f"local:iso/{name}", b"x")
    host.api.touched()
    seeds.sweep(host.api, place, "pve1", "local")
    left = [v.volid for v in host.standin.world.volumes if "iso" in v.volid]
    assert sorted(left) == sorted(f"local:iso/{name}" for name in others)

"""Hosts of other tools: what is known is written, what is not is told, and the lab is valid."""

import contextlib
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import Lab
from lab.cli import main
from lab.errors import LabError
from lab.starter import ansible, terraform

INI = """
# a comment
bastion ansible_host=192.0.2.1 ansible_user=admin ansible_port=2222

[web]
web[1:2] http_port=80 tls=True
[db]
db-[a:b].example.org ansible_host=2001:db8::5   ; the database

[db:vars]
engine=postgres
path="/srv/my data"

[prod:children]
web
db

[prod:vars]
engine=none
tier = gold
"""


@pytest.fixture
def home(lab_dir):
    """A lab with one host of its own."""
    return lab_dir(
        {
            "lab.yaml": "name: home\nproviders:\n  box: {kind: memory}\n",
            "personas/web.yaml": "purpose: a web\n",
            "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
        }
    )


def inventory(folder, files):
    for name, text in files.items():
        path = folder / "ansible" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "ansible" / next(iter(files))


def imported(home, *words):
    assert main.run(["import", *map(str, words), "-C", str(home)]) == 0
    with Lab.load(home) as lab:
        return lab.inventory.hosts


def test_an_ini_inventory_with_groups_ranges_and_variables(tmp_path, home, capsys):
    hosts = imported(home, "ansible", inventory(tmp_path, {"hosts.ini": INI}))
    said = capsys.readouterr().err
    assert list(hosts) == ["web1", "bastion", "web2", "db-a", "db-b"]
    assert hosts["bastion"].address == "192.0.2.1"
    assert hosts["web2"].tags == {"web", "prod"}
    assert hosts["web2"].vars == {"http_port": 80, "tls": True, "tier": "gold", "engine": "none"}
    assert hosts["db-a"].vars == {"engine": "postgres", "path": "/srv/my data", "tier": "gold"}
    assert hosts["db-a"].address == "2001:db8::5"
    assert "web1: left out, a host web1 is declared already" in said
    assert "db-a.example.org: is named db-a here" in said


def test_a_yaml_inventory_says_the_same(tmp_path, home, capsys):
    text = yaml.safe_dump(
        {
            "all": {
                "vars": {"dns": "192.0.2.53"},
                "hosts": {"nas": {"ansible_host": "192.0.2.9"}},
                "children": {
                    "prod": {"vars": {"tier": 1}, "children": {"db": {"hosts": {"db[1:2]": None}}}}
                },
            }
        }
    )  # fmt: skip
    hosts = imported(home, "ansible", inventory(tmp_path, {"hosts.yml": text}))
    assert hosts["nas"].vars == {"dns": "192.0.2.53"}
    assert hosts["db2"].tags == {"prod", "db"}
    assert hosts["db2"].vars == {"dns": "192.0.2.53", "tier": 1}


def test_variables_beside_the_inventory_and_what_is_nearer_wins(tmp_path, home, capsys):
    path = inventory(
        tmp_path,
        {
            "hosts": "[web]\nweb7 own=1\n",
            "group_vars/all.yml": "a: all\nb: all\nc: all\nown: all\n",
            "group_vars/web/main.yml": "b: web\nc: web\n",
            "host_vars/web7.yaml": "c: host\n",
        },
    )
    values = imported(home, "ansible", path)["web7"].vars
    assert values == {"a": "all", "b": "web", "c": "host", "own": 1}


def test_what_is_secret_or_means_nothing_is_told_and_never_written(tmp_path, home, capsys):
    path = inventory(
        tmp_path,
        {
            "hosts.ini": "web7 ansible_host=web7.lan ansible_become=true greeting='{{ motd }}'\n",
            "host_vars/web7.yml": "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n",
            "group_vars/all": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        },
    )
    hosts = imported(home, "ansible", path)
    said = " ".join(capsys.readouterr().err.split())
    assert hosts["web7"].vars == {"greeting": "{{ motd }}"}
    assert hosts["web7"].address is None
    assert "password is in a vault: left out" in said
    assert "(the file all) is in a vault" in said
    assert "ansible_become means nothing here" in said
    assert "its address 'web7.lan' is not an IP address" in said
    assert "greeting is a template" in said
    assert "VAULT" not in (home / "inventory/imported-ansible.yaml").read_text()


def test_a_machine_that_its_provider_makes_is_not_logged_in_to_by_what_is_said(
    tmp_path, home, capsys
):
    imported(home, "ansible", inventory(tmp_path, {"h.ini": "a ansible_user=me\n"}))
    assert "how to log in was left out" in capsys.readouterr().err


def test_importing_twice_writes_no_host_twice_and_touches_no_file(tmp_path, home, capsys):
    path = inventory(tmp_path, {"h.ini": "a\nb\n"})
    imported(home, "ansible", path)
    before = {p: p.read_bytes() for p in home.rglob("*.yaml")}
    assert main.run(["import", "ansible", str(path), "-C", str(home)]) == 1
    path.write_text("a\nb\nc\n")
    assert list(imported(home, "ansible", path)) == ["web1", "c", "a", "b"]
    assert {p: p.read_bytes() for p in before} == before


def test_a_dry_run_writes_nothing(tmp_path, home, capsys):
    before = sorted(home.rglob("*"))
    path = tmp_path / "x.ini"
    path.write_text("a\n")
    assert main.run(["import", "ansible", str(path), "--dry-run", "-C", str(home)]) == 0
    assert "persona: imported" in capsys.readouterr().out
    assert [p for p in sorted(home.rglob("*")) if p != path] == before


def test_what_would_make_the_lab_invalid_is_taken_back(home, tmp_path, capsys):
    path = inventory(tmp_path, {"h.ini": "a ansible_host=192.0.2.1\nb ansible_host=192.0.2.1\n"})
    code = main.run(["import", "ansible", str(path), "-C", str(home)])
    left = list((home / "inventory").glob("imported*"))
    assert (code == 3) == (left == [])
    assert main.run(["validate", "-C", str(home)]) == 0


@pytest.mark.parametrize("text", ["[", "a: [", "- x\n"])
def test_a_file_that_is_no_inventory_is_told(tmp_path, home, text, capsys):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert main.run(["import", "ansible", str(path), "-C", str(home)]) == 1
    assert "Unable to" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["web[1:999999999]", "web[1:99999][1:99999]"])
def test_a_range_that_is_too_wide_is_refused(name):
    with pytest.raises(LabError, match="more than 100,000 hosts"):
        ansible.expand(name)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab=[]:#;'\" \n{}!%123", max_size=200))
def test_any_text_is_read_or_told(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("ini") / "hosts"
    path.write_text(text)
    with contextlib.suppress(LabError):
        found, _ = ansible.read(path)
        assert all(host.name for host in found)


# -- Terraform ------------------------------------------------------------------------------------


def state(*resources, children=()):
    module = {"resources": list(resources)}
    if children:
        module["child_modules"] = [{"resources": list(children), "child_modules": []}]
    return json.dumps({"format_version": "1.0", "values": {"root_module": module}})


BPG = {
    "address": "proxmox_virtual_environment_vm.web",
    "mode": "managed",
    "type": "proxmox_virtual_environment_vm",
    "name": "web",
    "values": {
        "name": "web8",
        "cpu": [{"cores": 2, "sockets": 2}],
        "memory": [{"dedicated": 2048}],
        "disk": [{"interface": "scsi0", "size": 16}, {"interface": "scsi1", "size": 100}],
        "tags": ["prod"],
        "initialization": [{"ip_config": [{"ipv4": [{"address": "192.0.2.8/24"}]}]}],
    },
}
LIBVIRT = {
    "address": "module.x.libvirt_domain.db",
    "mode": "managed",
    "type": "libvirt_domain",
    "name": "db",
    "values": {
        "name": "db8",
        "vcpu": 4,
        "memory": 4096,
        "disk": [{"volume_id": "/pool/root"}],
        "network_interface": [{"addresses": ["192.0.2.18"]}],
    },
}
VOLUME = {
    "address": "module.x.libvirt_volume.root",
    "mode": "managed",
    "type": "libvirt_volume",
    "name": "root",
    "values": {"id": "/pool/root", "size": 10 * 1024**3 + 1},
}
TELMATE = {
    "address": "proxmox_vm_qemu.old",
    "mode": "managed",
    "type": "proxmox_vm_qemu",
    "name": "old",
    "values": {"name": "old", "cores": 1, "memory": "512", "tags": "a;b", "disk": [{"size": "8G"}]},
}


def test_machines_of_a_state_become_hosts(tmp_path, home, capsys):
    other = {"address": "aws_instance.x", "type": "aws_instance", "name": "x", "values": {}}
    path = tmp_path / "state.json"
    path.write_text(state(BPG, TELMATE, other, children=[LIBVIRT, VOLUME]))
    hosts = imported(home, "terraform", path)
    said = " ".join(capsys.readouterr().err.split())
    text = yaml.safe_load((home / "inventory/imported-terraform.yaml").read_text())["hosts"]
    assert hosts["web8"].address == "192.0.2.8/24"
    assert hosts["web8"].tags == {"prod"}
    assert text["web8"]["machine"] == {
        "cpu": 4,
        "memory": "2048MiB",
        "disks": {"root": {"size": "16GiB"}, "disk1": {"size": "100GiB", "durable": True}},
    }
    assert text["db8"]["machine"]["disks"] == {"root": {"size": "11GiB"}}
    assert text["old"]["machine"]["memory"] == "512MiB"
    assert "aws_instance.x: a aws_instance is not imported" in said
    assert "the disk disk1 is declared durable" in said


def test_what_a_state_does_not_say_is_left_out_and_told(tmp_path, home, capsys):
    bare = {**LIBVIRT, "values": {"name": "db9", "vcpu": 2}}
    path = tmp_path / "state.json"
    path.write_text(state(bare))
    imported(home, "terraform", path)
    assert "its machine was left out" in capsys.readouterr().err
    assert "machine" not in (home / "inventory/imported-terraform.yaml").read_text()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"values": 1}', "null", "{"])
def test_what_is_no_state_is_told(text):
    with pytest.raises(LabError, match="not the output of terraform show -json"):
        terraform.read(text)


KEYS = ["cpu", "cores", "memory", "disk", "size", "name", "initialization", "ip_config", "ipv4"]
KEYS += ["address", "tags"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*KEYS, "network_interface"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([BPG, LIBVIRT, TELMATE]), JSON)
def test_a_state_of_any_shape_is_read_or_told(resource, values):
    text = state({**resource, "values": values})
    with contextlib.suppress(LabError):
        found, _ = terraform.read(text)
        assert all(host.name for host in found)

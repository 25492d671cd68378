"""The demo, for real: from nothing to a healthy page; then everything that can be done behind it.

One machine for all of it, in order; each test leaves the lab converged.
"""

import json
import os
import re
import shutil
import signal
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.build]


def test_the_plan_covers_all_five_layers_before_anything_exists(real):
    report = real.report("plan", "host=web1", ok=(2,))
    layers = {p["layer"] for p in report["parts"] if p["plan"]["changes"]}
    predicted = {p["layer"] for p in report["parts"] if p["plan"]["predicted"]}
    assert layers - {"l1_image"} == {"l2_instantiate", "l3_system", "l4_workload"}
    assert predicted == {"l3_system", "l4_workload"}


def test_one_command_takes_it_to_a_healthy_page(real, repository):
    planned = real.planned()
    report = real.converge()
    done = {(layer, what) for layer, _, what in changes_of(report)}
    named = {(layer, what) for layer, _, what in planned}
    assert done <= named, "something was done that the plan did not name"
    above = {"l3_system"}  # predicted: what the image brings along turns out to be there already
    assert {d for d in done if d[0] not in above} == {n for n in named if n[0] not in above}
    with urllib.request.urlopen(f"http://127.0.0.1:{real.port}/", timeout=30) as answer:
        assert answer.status == 200
    images = repository / ".test-cache/images"
    if not images.exists():  # for the sessions after this one
        shutil.copytree(
            real.state / "images",
            images,
            copy_function=os.link,
            ignore=shutil.ignore_patterns("users", "*.lock", ".building-*"),
        )


def changes_of(report):
    return sorted(
        (p["layer"], c["action"], c["what"]) for p in report["parts"] for c in p["plan"]["changes"]
    )


def test_a_second_run_changes_nothing_anywhere(real):
    guest, qemu = real.guest(), real.qemu()
    assert changes_of(real.converge()) == []
    assert real.planned() == []
    assert (real.guest(), real.qemu()) == (guest, qemu)


def test_plan_and_verify_change_nothing_anywhere(real):
    here, guest = real.here(), real.guest()
    real.lab("plan", "host=web1")
    real.lab("status")
    real.lab("doctor", "host=web1")
    assert real.here() == here
    real.lab("verify", "host=web1")
    assert real.guest() == guest
    after = real.here()
    changed = {name for name in {*here, *after} if here.get(name) != after.get(name)}
    journal = {name for name in changed if Path(name).name.startswith("journal.db")}
    assert changed == journal, "verify writes what it saw into the journal, and nothing else"


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (
            "echo broken >> /etc/motd",
            ("l3_system", "update", "file /etc/motd"),
        ),
        (
            "dpkg --force-depends --purge curl >/dev/null",
            ("l3_system", "create", "package curl"),
        ),
        (
            "systemctl stop docker.socket docker.service",
            ("l3_system", "update", "service docker.service"),
        ),
        (
            "docker kill $(docker ps -q --filter label=com.docker.compose.project)",
            ("l4_workload", "update", "workload start"),
        ),
    ],
    ids=["file edited", "package removed", "service stopped", "container killed"],
)
def test_harm_on_the_machine_is_named_and_mended(real, harm, named):
    before, qemu = real.guest(), real.qemu()
    real.ssh(harm)
    assert named in real.planned(ok=(2,))
    if named[0] == "l3_system" and "docker" not in harm:
        assert real.planned(ok=(2,)) == [named]
    real.converge()
    assert real.planned() == []
    assert real.guest() == before
    assert real.qemu() == qemu


def test_an_edited_environment_of_the_container_is_named_and_mended(real):
    before = real.guest()
    folder = real.ssh(
        "docker inspect $(docker ps -q) --format"
        """ '{{index .Config.Labels "com.docker.compose.project.working_dir"}}'"""
    ).strip()
    key = re.search(r'"([A-Z_]+)=', real.ssh("docker inspect $(docker ps -q)"))[1]
    keep = f"cp -a {folder}/compose.yaml /root/keep.yaml"
    edit = (
        f"sed -i 's/^\\( *{key}[:=] *\\).*/\\1meddled/' {folder}/compose.yaml"
        f" && docker compose --project-directory {folder} up -d"
    )
    real.ssh(
        f"{keep} && {edit} && cp -a /root/keep.yaml {folder}/compose.yaml && rm /root/keep.yaml"
    )
    assert "meddled" in real.ssh("docker inspect $(docker ps -q)")
    report = real.report("plan", "host=web1", ok=(2,))
    assert changes_of(report) == [("l4_workload", "update", "workload start")]
    assert key in json.dumps(report)
    real.converge()
    assert real.planned() == []
    assert real.guest() == before


def test_a_grown_data_disk_is_grown_in_place(real):
    real.overlay("disks: {data: {size: 5GiB}}")
    qemu = real.qemu()
    assert real.planned(ok=(2,)) == [
        ("l2_instantiate", "update", "disk data"),
        ("l3_system", "update", "filesystem data"),
    ]
    assert changes_of(real.converge()) == [
        ("l2_instantiate", "update", "disk data"),
        ("l3_system", "update", "filesystem data"),
    ]
    assert real.planned() == []
    assert real.qemu() == qemu, "the machine was restarted"
    size = int(real.ssh("df -B1 --output=size /srv | tail -1"))
    assert size > 4.5 * 2**30


def test_a_durable_disk_cannot_shrink(real):
    real.overlay("disks: {data: {size: 1GiB}}")
    done = real.lab("converge", "host=web1", "--yes", "--no-input", ok=(5,))
    real.overlay("disks: {data: {size: 5GiB}}")
    assert "disks only grow" in " ".join((done.stdout + done.stderr).split())
    assert real.planned() == []


def test_raised_memory_restarts_the_machine_and_keeps_everything(real):
    real.ssh("echo precious > /srv/start/canary; sync")
    real.overlay("memory: 1280MiB, disks: {data: {size: 5GiB}}")
    assert real.planned(ok=(2,)) == [("l2_instantiate", "update", "machine")]
    real.converge()
    assert real.planned() == []
    assert int(real.ssh("awk '/MemTotal/ {print $2}' /proc/meminfo")) > 1100 * 1024
    assert real.ssh("cat /srv/start/canary") == "precious\n"


def test_a_killed_machine_is_named_and_started_again(real):
    before = real.guest()
    for pid in real.qemu():
        os.kill(pid, signal.SIGKILL)
    while real.qemu():
        time.monotonic()
    assert real.planned(ok=(2,)) == [("l2_instantiate", "update", "power")]
    real.converge()
    assert real.planned() == []
    assert real.guest() == before


def test_a_deleted_machine_comes_back_with_its_data_and_its_identity(real):
    key = real.handed()["host_key"]
    for pid in real.qemu():
        os.kill(pid, signal.SIGKILL)
    while real.qemu():
        time.monotonic()
    shutil.rmtree(real.state / "machines/web1")
    assert ("l2_instantiate", "create", "machine") in real.planned(ok=(2,))
    real.lab("converge", "host=web1", "--yes", "--no-input", "--json")
    assert real.planned() == []
    del real._ssh
    assert real.handed()["host_key"] == key
    assert real.ssh("cat /srv/start/canary") == "precious\n"


def test_a_guest_that_never_answers_shows_its_console(real, tmp_path):
    other = type(real)(tmp_path, "silent")
    leave = shutil.ignore_patterns("users", ".lock*")
    images = (real.state / "images", other.state / "images")
    shutil.copytree(*images, copy_function=os.link, ignore=leave)
    provider = "{kind: qemu, boot_deadline: 12s}"
    other.write(
        "lab.yaml", f"name: silent\nproviders:\n  box: {provider}\nvars: {{motd_owner: x}}\n"
    )
    done = other.lab("converge", "--yes", "--no-input", ok=(1,))
    said = done.stdout + done.stderr
    assert "after 12 s" in said
    assert "BdsDxe" in said or "Linux version" in said or "systemd" in said, "its console is shown"
    assert "serial.log" in said
    words = ("--with-data", "--yes", "--no-input", "--confirm", "web1", "--forget")
    other.lab("destroy", "host=web1", *words)
    assert other.qemu() == []


def test_destroy_needs_the_name_and_leaves_the_data(real):
    refused = real.lab("destroy", "host=web1", "--yes", "--no-input", ok=(5,))
    assert "--confirm web1" in refused.stderr + refused.stdout
    assert real.qemu()
    real.lab("destroy", "host=web1", "--yes", "--no-input", "--confirm", "web1")
    assert real.qemu() == []
    assert list((real.state / "disks/web1").glob("data*"))


def test_destroy_with_data_leaves_nothing(real):
    words = ("--with-data", "--yes", "--no-input", "--confirm", "web1", "--forget")
    real.lab("destroy", "host=web1", *words)
    assert not real.state.exists()

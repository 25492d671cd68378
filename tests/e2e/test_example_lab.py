"""The demo, for real: from nothing to a healthy page; then everything that can be done behind it.

One machine for all of it, in order; each test leaves the lab converged.
"""

import os
import shutil
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


KILLED = "docker kill $(docker ps -q --filter label=com.docker.compose.project)"


def test_harm_on_the_machine_is_named_and_mended(real):
    """In one go; each kind of harm by itself: the tests of L3 and L4 on real hosts."""
    before, qemu = real.guest(), real.qemu()
    real.ssh(f"echo broken >> /etc/motd; dpkg --force-depends --purge curl >/dev/null; {KILLED}")
    assert real.planned(ok=(2,)) == [
        ("l3_system", "create", "package curl"),
        ("l3_system", "update", "file /etc/motd"),
        ("l4_workload", "update", "workload start"),
    ]
    real.converge()
    assert real.planned() == []
    assert real.guest() == before
    assert real.qemu() == qemu


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

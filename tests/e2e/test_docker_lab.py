"""The example lab on containers: from nothing to a page, drift, kill -9, and nothing again."""

import os
import signal
import urllib.request

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, sandbox, real_lab):
    """The example's web1 as a container, driven as a user does."""
    sandbox.template("docker")  # the same image: it is made once a session
    lab = real_lab(tmp_path_factory.mktemp("fleet"), f"fleet{os.getpid()}")
    lab.write(
        "lab.yaml",
        f"name: {lab.name}\nproviders:\n"
        f"  box: {{kind: docker, host: '{sandbox.engine}'}}\nvars: {{motd_owner: a test}}\n",
    )
    yield lab
    lab.lab("destroy", "--all", "--with-data", "--yes", "--no-input", "--confirm", "web1")


def page(lab):
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.port}/", timeout=5) as response:
        return response.read().decode()


def container(lab):
    return f"strata-{lab.name}-web1"


def killed_at(lab, point):
    lab.env["STRATA_FAULT"] = point
    try:
        lab.lab("converge", "--yes", "--no-input", ok=(-signal.SIGKILL,))
    finally:
        del lab.env["STRATA_FAULT"]


def test_a_page_from_nothing_although_the_lab_dies_on_the_way(fleet):
    for point in ("engine.l1_image.after_apply", "l2.container.made", "l2.container.started"):
        killed_at(fleet, point)
    fleet.converge()
    assert "Welcome" in page(fleet)
    assert fleet.planned(ok=(0,)) == []
    assert fleet.converge()["exit_code"] == 0


def test_a_setting_of_everybodys_kernel_is_left_out_and_said_so(fleet, sandbox):
    fleet.converge()
    sandbox.docker("exec", container(fleet), "userdel", "ops")
    report = fleet.report("plan", "host=web1", ok=(2,))
    notes = [note for part in report["parts"] for note in part["plan"]["notes"]]
    assert notes == [
        "vm.swappiness on web1 is left out: it is this machine's, and a container shares it"
    ]
    fleet.converge()


@pytest.mark.parametrize(
    ("drift", "layers"),
    [
        (("kill",), {"l2_instantiate"}),
        (("rm", "--force", "--volumes"), {"l2_instantiate", "l3_system", "l4_workload"}),
    ],
    ids=["power cut", "removed"],
)
def test_what_was_broken_is_mended_and_its_data_is_there(fleet, sandbox, drift, layers):
    fleet.converge()
    sandbox.docker("exec", container(fleet), "sh", "-c", "echo kept > /srv/start/note.txt")
    sandbox.docker(*drift, container(fleet))
    assert {layer for layer, _, _ in fleet.planned(ok=(2,))} == layers
    fleet.converge()
    assert "Welcome" in page(fleet)
    assert sandbox.docker("exec", container(fleet), "cat", "/srv/start/note.txt") == "kept\n"
    assert fleet.planned(ok=(0,)) == []


def test_destroyed_and_forgotten_nothing_is_left(fleet, sandbox):
    fleet.converge()
    words = ("--with-data", "--yes", "--no-input", "--confirm", "web1", "--forget")
    fleet.lab("destroy", "--all", *words)
    assert not fleet.state.exists()
    for listing in (("ps", "-a"), ("images",), ("volume", "ls")):
        assert fleet.name not in sandbox.docker(*listing)

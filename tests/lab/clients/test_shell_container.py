"""A shell in a container: as root or as another, and why there is none."""

import threading
from dataclasses import replace

import pytest

from lab.clients.shell import Endpoint, Shells
from lab.clients.shell_ssh import command_line, explain
from lab.errors import DriverError, TransportError

INSIDE = Endpoint("web1", "container", "strata-demo-web1", engine="unix:///run/x.sock")


def test_the_engine_is_told_as_whom():
    words = command_line(INSIDE, None, root=True)
    assert words[:-3] == [
        *("docker", "--host", "unix:///run/x.sock", "exec", "-i", "--user", "root"),
        "strata-demo-web1",
    ]
    assert command_line(replace(INSIDE, user="ops", engine=""), None, root=False)[:-3] == [
        *("docker", "exec", "-i", "--user", "ops", "strata-demo-web1"),
    ]


@pytest.mark.parametrize(
    ("noise", "cause", "reached"),
    [
        ("Error: No such container: x", "there is no container strata-demo-web1", False),
        ("Container 12 is not running", "its container does not run", False),
        ("Container 12 is paused, unpause the container first", "its container is paused", False),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///x",
            "you may not use the Docker engine",
            False,
        ),
        ("Cannot connect to the Docker daemon at unix:///x.", "no Docker engine answers", False),
        (
            'OCI runtime exec failed: exec: "sh": executable file not found in $PATH',
            "it has no POSIX shell named sh",
            True,
        ),
        ("unable to find user ops: no matching entries", "it has no user ops", True),
        ("", "the connection to its container broke: docker ended (status 1)", False),
    ],
)
def test_complaints_in_plain_words(noise, cause, reached):
    said = explain(replace(INSIDE, user="ops"), 1, noise)
    assert (said.cause, said.reached) == (cause, reached)
    assert said.hint


@pytest.fixture
def shells(tmp_path):
    made = Shells(tmp_path, threading.Event())
    yield made
    made.close()


@pytest.mark.engine
def test_commands_in_a_real_one(sandbox, shells):
    host = sandbox.host("shell")
    inside = Endpoint("shell", "container", host.container, engine=host.engine)
    shell = shells.to(inside)
    assert shell.run("id -un; cat", stdin=b"and its input", doing="try").text == (
        "root\nand its input"
    )
    other = shells.to(replace(inside, user="strata"))
    assert other.run("id -un", doing="try", root=False).text == "strata\n"
    assert other.run("id -un", doing="try").text == "root\n"
    with pytest.raises(DriverError, match="Unable to fail on shell: oh no") as caught:
        shell.run("echo oh no >&2; exit 3", doing="fail")
    assert caught.value.status == 3
    with pytest.raises(DriverError, match="it has no user nobody2"):
        shells.to(replace(inside, user="nobody2")).run("true", doing="try", root=False)

    host.kill()
    with pytest.raises(TransportError, match="its container does not run"):
        shell.run("true", doing="try")
    host.start()
    assert shell.run("id -un", doing="try").text == "root\n"
    host.remove()
    with pytest.raises(TransportError, match="there is no container"):
        shells.to(replace(inside, address=host.container)).run("true", doing="try")

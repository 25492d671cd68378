"""Captures that are kept elsewhere, as restic reaches them: rest-server, an S3 server, an sshd."""

import base64
import contextlib
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lab.clients import restic_door, restic_process, restic_reach
from lab.clients.restic_stores import RestStore
from lab.errors import DriverError
from lab.model.outcome import ExitCode
from lab.recovery import pushing
from tests import peers

pytestmark = pytest.mark.slow
PASSWORD = "of the store"


@dataclass
class Store:
    """One place for a repository; ``process``: what serves it, where it is ours to stop."""

    url: str
    argv: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen | None = None

    def start(self):
        """Until it answers; an S3 server gets its bucket."""
        self.process = subprocess.Popen(
            self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"{self.argv[0]} did not start")
        if self.url.startswith("s3:"):
            bucket = urllib.request.Request(f"http://127.0.0.1:{self.port}/captures", method="PUT")
            with contextlib.suppress(urllib.error.HTTPError):  # it is there
                urllib.request.urlopen(bucket, timeout=20).close()

    def stop(self):
        self.process.kill()
        self.process.wait()


def peer(name):
    found = peers.program(name)
    if found is None:
        pytest.skip(f"{name} is not here: just peers builds it, where Go is installed")
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def rest(folder):
    port = free_port()
    (folder / "who").write_text(f"me:{{SHA}}{base64.b64encode(_sha1(PASSWORD)).decode()}\n")
    argv = [peer("rest-server"), "--path", f"{folder}/rest", "--listen", f"127.0.0.1:{port}",
            "--htpasswd-file", f"{folder}/who"]  # fmt: skip
    said = {"RESTIC_REST_USERNAME": "me", "RESTIC_REST_PASSWORD": PASSWORD}
    return Store(f"rest:http://127.0.0.1:{port}/lab/", argv, said, port)


def _sha1(text):
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def s3(folder):
    port = free_port()
    argv = [peer("gofakes3"), "-backend", "bolt", "-bolt.db", f"{folder}/s3",
            "-host", f"127.0.0.1:{port}"]  # fmt: skip
    said = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": PASSWORD}
    return Store(f"s3:http://127.0.0.1:{port}/captures/lab", argv, said, port)


@pytest.fixture(params=[rest, s3])
def store(request, tmp_path):
    made = request.param(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def nas(sandbox, tmp_path, monkeypatch):
    """A host that keeps captures, reached as the user's own configuration of ssh says."""
    host = sandbox.host("nas")
    (tmp_path / "known").write_text(f"[{host.address}]:{host.port} {host.host_key}\n")
    (tmp_path / "config").write_text(
        f"Host nas\n HostName {host.address}\n Port {host.port}\n User root\n"
        f" IdentityFile {host.identity_file}\n UserKnownHostsFile {tmp_path}/known\n"
    )
    (tmp_path / "bin").mkdir()
    mine = tmp_path / "bin/ssh"
    mine.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n')
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mine.parent}:{os.environ['PATH']}")
    host.run(
        "install -d -m 700 /root/.ssh && cp ~strata/.ssh/authorized_keys /root/.ssh/ &&"
        " rm -rf /srv/captures"
    )
    return host


def kept_at(here, url, environment=()):
    made = here(store=False)
    said = "".join(f", {k}: {shlex.quote(v)}" for k, v in dict(environment).items())[2:]
    text = (made.root / "lab.yaml").read_text()
    (made.root / "lab.yaml").write_text(
        text.replace(f"url: {made.store}", f"url: '{url}', environment: {{{said}}}")
    )
    return made


def does_all_that_a_folder_does(made, tmp_path):
    for turn in range(2):
        (made.data / "a").write_text(f"{turn}\n")
        report = made.capture()
        assert report.exit_code is ExitCode.OK, [p.failure for p in report.run.parts]
    assert [c.number for c in made.listing().captures] == [2, 1]
    for words in (["verify", "data=things"], ["check", "data=things"]):
        done = made.run("captures", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    done = made.run("restore", "host=me", "data=things", f"to={tmp_path}/back", "--yes")
    assert done.returncode == 0, done.stderr
    (back,) = (tmp_path / "back").rglob("a")
    assert back.read_text() == "1\n"
    persona = made.root / "personas/p.yaml"
    persona.write_text(persona.read_text().replace("last: 99", "last: 1, daily: 0, weekly: 0"))
    done = made.run("captures", "forget")
    assert done.returncode == 0, done.stderr
    assert [c.number for c in made.listing().captures] == [2]


def test_elsewhere_as_here(store, here, tmp_path):
    does_all_that_a_folder_does(kept_at(here, store.url, store.environment), tmp_path)


def test_a_store_that_does_not_answer_is_named_and_the_same_again_goes_on(store, here, monkeypatch):
    monkeypatch.setattr(restic_process, "UNANSWERED", 5.0)
    made = kept_at(here, store.url, store.environment)
    assert made.capture().exit_code is ExitCode.OK
    store.stop()
    began = time.monotonic()
    report = made.capture()
    assert time.monotonic() - began < 30
    assert report.exit_code is not ExitCode.OK
    assert not report.records
    failure = report.run.parts[0].failure
    assert "127.0.0.1" in failure.message
    assert PASSWORD not in str(failure)
    store.start()
    assert made.capture().exit_code is ExitCode.OK


def needs_rclone():
    if shutil.which("rclone") is None:
        why = "needs rclone: apt-get install rclone"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def is_pushed_there(made, lists, monkeypatch):
    """Two pushes, of which the second brings only what is new, and no key stays."""
    persona = made.root / "personas/p.yaml"
    persona.write_text(persona.read_text().replace("]}}", "], route: push}}"))
    (made.data / "big").write_bytes(os.urandom(24 << 20))
    came = []
    door = restic_door.Door.shut
    monkeypatch.setattr(restic_door.Door, "shut", lambda d: (came.append(d.received), door(d)))
    for turn in range(2):
        (made.data / "small").write_text(f"{turn}\n")
        report = made.capture()
        assert report.exit_code is ExitCode.OK, [p.failure for p in report.run.parts]
    assert came[0] > 24 << 20
    assert came[1] < 10 << 20
    done = made.run("captures", "verify", "data=things")
    assert done.returncode == 0, done.stderr
    assert len(lists("keys")) == 1, "that of the lab itself"
    assert lists("locks") == []


class _NoPlace(BaseHTTPRequestHandler):
    """A server that says of everything that it is not there."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(404)

    def do_HEAD(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


def test_a_file_that_a_server_has_no_place_for_is_not_called_kept():
    with HTTPServer(("127.0.0.1", 0), _NoPlace) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        files = RestStore(f"rest:http://127.0.0.1:{server.server_port}/", {})
        with pytest.raises(DriverError, match="no place for a file"):
            files.add("index", hashlib.sha256(b"x").hexdigest(), iter([b"x"]))
        server.shutdown()


@pytest.mark.parametrize("store", [rest, s3], indirect=True)
def test_pushed_to_it_by_a_host(store, here, monkeypatch):
    if store.url.startswith("s3:"):
        needs_rclone()
    made = kept_at(here, store.url, store.environment)
    assert made.capture().exit_code is ExitCode.OK  # makes it
    with made.lab() as lab, restic_reach.reached(lab.captures.repository.restic.access) as files:
        is_pushed_there(made, files.names, monkeypatch)


def test_a_store_that_lets_nothing_be_removed_is_captured_to_by_pull(here, tmp_path, monkeypatch):
    store = rest(tmp_path)
    store.argv.append("--append-only")
    store.start()
    try:
        made = kept_at(here, store.url, store.environment)
        persona = made.root / "personas/p.yaml"
        whole = persona.read_text()
        persona.write_text(whole.replace("]}}", "], route: auto}}"))
        monkeypatch.setattr(pushing, "LARGE", 1)
        for _ in range(2):
            assert made.capture().exit_code is ExitCode.OK
        persona.write_text(whole.replace("]}}", "], route: push}}"))
        (part,) = made.capture().run.parts
        assert "lets nothing be removed, which the key of a push must be" in part.failure.message
        assert "route: pull" in part.failure.hint
    finally:
        store.stop()


@pytest.mark.engine
def test_pushed_to_a_host_that_only_has_sshd(nas, here, monkeypatch):
    needs_rclone()
    made = kept_at(here, "sftp:nas:/srv/captures")
    assert made.capture().exit_code is ExitCode.OK
    is_pushed_there(made, lambda k: nas.run(f"ls /srv/captures/{k}").split(), monkeypatch)


@pytest.mark.engine
def test_at_a_host_that_only_has_sshd(nas, here, tmp_path):
    made = kept_at(here, "sftp:nas:/srv/captures")
    does_all_that_a_folder_does(made, tmp_path)
    nas.run("mv /srv/captures /srv/away")  # a disk that was not mounted
    report = made.capture()
    assert report.exit_code is not ExitCode.OK
    assert "there is no repository" in report.run.parts[0].failure.message
    assert nas.run("ls /srv") == "away\n", "nothing was made in its place"
    (tmp_path / "known").write_text("")
    report = made.capture()
    assert "ssh says: Host key verification failed" in report.run.parts[0].failure.message
    assert report.exit_code is ExitCode.UNREACHABLE

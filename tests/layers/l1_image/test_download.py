import hashlib
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.errors import DriverError, Interrupted
from layers.l1_image import diskfile, download, planner
from layers.l1_image.drivers.debian.driver import DebianDriver

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed"
)


class Server(ThreadingHTTPServer):
    """What it does wrong is in its attributes; ``did`` tells that it did it."""

    daemon_threads = True
    content = b""
    cut = 0
    resumable = True
    status = 200
    to = ""
    length = 0
    range_from = 0
    lies = b""
    silent = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []
        self.did = []
        self.stop_being_silent = threading.Event()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        server.did.append(self.path)
        if server.silent:
            server.stop_being_silent.wait(20)
            return
        if server.to and self.path == "/cloud.qcow2":
            self.send_response(302)
            self.send_header("Location", server.to)
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if server.resumable and (range_ := self.headers.get("Range")):
            start = int(range_.removeprefix("bytes=").rstrip("-"))
        content = server.lies or server.content
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start + server.length))
        if start:
            first = start + server.range_from
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = len(content) - server.cut
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    disk = tmp_path / "source.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "8M"], check=True)
    running = Server()
    running.content = disk.read_bytes()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.stop_being_silent.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def converge(server, workspace, target_of):
    driver = DebianDriver(workspace)

    def once(checksum="", url="", algorithm="sha256"):
        digest = hashlib.new(algorithm, server.content).hexdigest()
        address = url or f"http://127.0.0.1:{server.server_port}/cloud.qcow2"
        base = {"url": address, "checksum": checksum or f"{algorithm}:{digest}"}
        target = target_of({"base": base})
        (change,) = planner.plan(target, driver.observe(target), frozenset()).changes
        driver.apply(target, change)
        return driver.observe(target)

    return once


@pytest.fixture
def nothing_left(workspace):
    yield
    assert not list((workspace.state / "images").glob("cloud*"))
    assert not list((workspace.state / "images").glob(".building-*"))


@pytest.fixture
def used(server, monkeypatch):
    """What a program was ever pointed at, but for the right content."""
    wrong = []

    def looked(argv, **more):
        source = Path(argv[-1] if "info" in argv else argv[-2])
        if source.read_bytes() not in {server.content, b""}:
            wrong.append(source)
        return run(argv, **more)

    run = diskfile.run
    monkeypatch.setattr(diskfile, "run", looked)
    return wrong


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_cloud_image_becomes_a_template(converge, workspace, algorithm):
    observed = converge(algorithm=algorithm)
    assert observed.present
    assert not observed.baseline.complete
    assert not list(workspace.cache.rglob("*.part"))


def test_a_cloud_image_may_be_a_file(converge, tmp_path):
    assert converge(url=str(tmp_path / "source.qcow2")).present
    assert converge(url=(tmp_path / "source.qcow2").as_uri()).present


def test_a_wrong_checksum_is_refused_and_forgotten(converge, workspace, nothing_left):
    with pytest.raises(
        DriverError, match=r"its checksum is sha256:[0-9a-f]+, and the persona says"
    ):
        converge(checksum=f"sha256:{'0' * 64}")
    assert not list(workspace.cache.rglob("*.part"))


def test_a_404_says_so(converge, server, nothing_left):
    server.status = 404
    with pytest.raises(DriverError, match="the server says 404 Not Found"):
        converge()


def test_a_file_that_is_not_there_says_so(converge, tmp_path, nothing_left):
    with pytest.raises(DriverError, match="No such file or directory"):
        converge(url=str(tmp_path / "cloud.qcow2"))


@pytest.mark.parametrize("resumable", [True, False])
def test_a_download_cut_short_is_refused_then_resumed(converge, server, resumable):
    server.cut, server.resumable = 1000, resumable
    with pytest.raises(DriverError, match="the connection ended early"):
        converge()
    server.cut = 0
    assert converge().present
    assert server.asked[0] is None
    assert server.asked[1].startswith("bytes=")


def test_a_server_that_is_not_there_says_so(converge, nothing_left):
    with pytest.raises(DriverError, match="Connection refused"):
        converge(url="http://127.0.0.1:1/cloud.qcow2")


def test_an_image_that_refers_to_a_file_of_this_machine_is_refused(
    converge, server, tmp_path, nothing_left
):
    trap = tmp_path / "trap.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", trap],
        check=True,
    )
    server.content = trap.read_bytes()
    with pytest.raises(DriverError, match="it refers to another file"):
        converge()


def test_what_is_no_disk_is_refused(converge, server, nothing_left):
    server.content = b"<html>please log in</html>" * 100
    with pytest.raises(DriverError, match="neither a qcow2 image nor a raw disk"):
        converge()


def test_stopping_leaves_what_can_be_resumed(converge, workspace, nothing_left):
    workspace.cancelled.set()
    with pytest.raises(Interrupted):
        converge()


def _other(server):
    return f"http://127.0.0.1:{server.server_port}/other.qcow2"


def _flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


FAULTS = {
    # name: what the server does, what is said
    **{f"status {code}": ({"status": code}, f"the server says {code}") for code in
       (400, 401, 403, 404, 410, 429, 500, 502, 503, 504)},
    **{f"cut by {cut}": ({"cut": cut}, "ended early") for cut in (1, 512, 100_000, 196_000)},
    **{f"longer by {more}": ({"length": more}, "ended early") for more in (1, 4096)},
    "bit flipped at the start": ({"lies": lambda c: _flip(c, 0)}, "its checksum is"),
    "bit flipped in the middle": ({"lies": lambda c: _flip(c, len(c) // 2)}, "its checksum is"),
    "bit flipped at the end": ({"lies": lambda c: _flip(c, -1 % len(c))}, "its checksum is"),
    "a byte more": ({"lies": lambda c: c + b"x"}, "its checksum is"),
    "a byte less": ({"lies": lambda c: c[:-1]}, "its checksum is"),
    "twice": ({"lies": lambda c: c + c}, "its checksum is"),
    "another image": ({"lies": lambda c: bytes(len(c))}, "its checksum is"),
    "a login page": ({"lies": lambda _: b"<html>please log in</html>"}, "its checksum is"),
    "an empty file": ({"content_is_empty": True}, "its checksum is"),
    "redirected in a circle": ({"to": "/cloud.qcow2"}, "the server says 302"),
    "redirected to a file": ({"to": "file:///etc/passwd"}, "is not allowed"),
    "redirected to ftp": ({"to": "ftp://127.0.0.1/cloud.qcow2"}, "not as safe"),
    "redirected to nowhere": ({"to": "http://127.0.0.1:1/x"}, "Connection refused"),
    "redirected to a login page":
        ({"to": _other, "lies": lambda _: b"<html>please log in</html>"}, "its checksum is"),
    "redirected to a 404": ({"to": _other, "status": 404}, "the server says 404"),
    "never answers": ({"silent": True}, "timed out"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_f29_is_refused_before_it_is_used(
    name, converge, server, used, workspace, nothing_left, monkeypatch
):
    monkeypatch.setattr(download, "_TIMEOUT", 0.3)
    faults, said = FAULTS[name]
    digest = f"sha256:{hashlib.sha256(server.content).hexdigest()}"
    for key, value in faults.items():
        if key == "content_is_empty":
            server.content = b""
        elif key == "lies":
            server.lies = value(server.content)
        else:
            setattr(server, key, value(server) if callable(value) else value)
    with pytest.raises(DriverError, match=said):
        converge(checksum=digest)
    assert server.did, "the fault never happened"
    assert used == []


def test_f29_has_thirty_cases():
    assert len(FAULTS) >= 30


def test_a_redirect_to_where_the_image_is_is_followed(converge, server, used):
    server.to = _other(server)
    assert converge().present
    assert server.did == ["/cloud.qcow2", "/other.qcow2"]
    assert used == []


@pytest.mark.parametrize("wrong", ["content", "range"])
def test_what_is_there_of_another_download_is_not_mixed_in(
    wrong, converge, server, workspace, used
):
    """The file changed on the server, or it answers with another piece than was asked for."""
    cache = workspace.cache / "images"
    cache.mkdir()
    digest = hashlib.sha256(server.content).hexdigest()
    there = server.content[:5000] if wrong == "range" else b"x" * 5000
    (cache / f"{digest}.part").write_bytes(there)
    server.range_from = 7 if wrong == "range" else 0
    assert converge().present
    assert server.asked == ["bytes=5000-", None]
    assert used == []


def test_an_image_that_is_encrypted_is_refused(converge, server, tmp_path, nothing_left):
    closed = tmp_path / "closed.qcow2"
    secret = ["--object", "secret,id=s,data=abc"]
    options = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"]
    create = ["qemu-img", "create", "-q", *secret, "-f", "qcow2", *options, closed, "1M"]
    subprocess.run(create, check=True)
    server.content = closed.read_bytes()
    with pytest.raises(DriverError, match="it is encrypted"):
        converge()

import hashlib
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lab.errors import DriverError, Interrupted
from layers.l1_image import planner
from layers.l1_image.drivers.debian.driver import DebianDriver

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed"
)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    content = b""
    cut = 0
    resumable = True
    status = 200

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if server.resumable and (range_ := self.headers.get("Range")):
            start = int(range_.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = len(server.content) - server.cut
        self.wfile.write(server.content[start:end])

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

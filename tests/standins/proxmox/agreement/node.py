"""The node of the recordings: what it held, and what its owner did by hand in between."""

from __future__ import annotations

import http.server
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.standins.proxmox import ProxmoxStandIn

IMAGE_SIZE = 196616
DISK_SIZE = 64 << 20
_CONTENT = {"images", "rootdir", "vztmpl", "snippets", "iso", "backup"}


@contextmanager
def as_recorded() -> Iterator[ProxmoxStandIn]:
    """A stand-in seeded like that node."""
    with ProxmoxStandIn(task_seconds=0.05, patience=0.05) as standin:
        world = standin.world
        world.storages.clear()
        world.add_storage("local", content=set(_CONTENT))
        world.nodes["pve1"].cpus = 2
        world.statistics = False  # pvestatd did not run yet
        standin.token = world.access.add_token("root@pam", "t1", separated=False)
        yield standin


def _deaf(standin: ProxmoxStandIn) -> None:
    standin.settle()  # its start was over long before
    standin.guest(101).listens = False


def _agent(standin: ProxmoxStandIn) -> None:
    """The guest was no real one: its agent named an address of its own."""
    standin.guest(101).mac_override = "bc:24:11:8e:ef:5b"


_NO_SNAPSHOT = """\
unable to freeze guest fs - The command guest-fsfreeze-freeze has not been found
VM 101 qmp command 'savevm-end' failed - The command savevm-end has not been found
snapshot create failed: starting cleanup
VM 101 qmp command 'savevm-start' failed - The command savevm-start has not been found """

BY_HAND: dict[str, Callable[[ProxmoxStandIn], object]] = {
    "content": lambda one: one.add_file("local:snippets/u.yaml", b"#cloud-config\nhostname: x\n "),
    "agent-net": _agent,
    "shutdown-timeout": lambda one: setattr(one.guest(101), "listens", False),
    # That machine's QEMU had no live snapshots.
    "snapshot-running": lambda one: one.fail_task("qmsnapshot", text=_NO_SNAPSHOT),
    "locked-config": lambda one: one.lock(102, "backup"),
    "protection-set": lambda one: one.lock(102, None),
    "resources": lambda one: setattr(one.world, "statistics", True),
    "lockfile-timeout": lambda one: setattr(one.guest(101), "flocked", True),
    "start-missing-bridge": lambda one: setattr(one.guest(101), "flocked", False),
    "shutdown-long": _deaf,
    "pvedaemon-down-protected": lambda one: setattr(one.world, "daemon_down", True),
}


@contextmanager
def web_server() -> Iterator[int]:
    """What the node downloaded from: one image; answers the port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(image())

        def _answer(self, body: bytes) -> None:
            if not self.path.endswith("/www.qcow2"):
                self.send_error(404, "File not found")
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(IMAGE_SIZE))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def image() -> bytes:
    """The head of a qcow2 of 64 MiB, as long as the one of the recordings."""
    head = b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 16, DISK_SIZE)
    return head.ljust(IMAGE_SIZE, b"\0")

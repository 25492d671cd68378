"""A node that answers what the test says, over real TLS; and what a real one answered."""

import datetime as dt
import hashlib
import http.server
import ipaddress
import json
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.clients.proxmox import Access, Api
from lab.model.secret import Secret

RECORDED = Path(__file__).resolve().parents[5] / "shared/pve/recordings.jsonl"
TOKEN = "root@pam!t1=3f2a91c0-0000-4000-8000-00000000abcd"


def self_signed(folder: Path, address="127.0.0.1"):
    """A certificate as a node makes one for itself: its PEM file with the key, and its digest."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / f"{made.serial_number}.pem"
    file.write_bytes(pem + secret)
    digest = hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return file, pem.decode(), ":".join(digest[i : i + 2] for i in range(0, 64, 2))


@dataclass
class Node:
    """A server that answers by a list of answers a request; the last one stays."""

    url: str
    pem: str
    fingerprint: str
    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def on(self, method, path, *answers):
        """Each answer: data, or (status, reason[, errors]), or "drop"."""
        self.answers[method, path] = list(answers)
        return self


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        node = self.server.node
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path).removeprefix("/api2/json/")
        node.asked.append((self.command, path, body, dict(self.headers), self.path))
        answers = node.answers.get((self.command, path), [(501, "not implemented")])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "drop":
            self.close_connection = True
            return
        status, reason, said = 200, "OK", {"data": answer}
        if isinstance(answer, tuple):
            status, reason = answer[:2]
            said = {
                "data": None,
                "message": reason,
                **({"errors": answer[2]} if answer[2:] else {}),
            }
        content = b"" if status in {401, 595} else json.dumps(said).encode()
        self.send_response_only(status, reason)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Date", self.date_time_string())
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up when it sees our certificate is what some tests are about."""


@pytest.fixture
def node(tmp_path):
    file, pem, fingerprint = self_signed(tmp_path)
    server = _Server(("127.0.0.1", 0), _Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.load_cert_chain(file)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.node = Node(f"https://127.0.0.1:{server.server_port}", pem, fingerprint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.node
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def stranger(tmp_path):
    """The certificate of somebody else."""
    return self_signed(tmp_path)[1]


class _Vault:
    def reveal(self, name):
        return TOKEN


@pytest.fixture
def access(node):
    return Access(node.url, node.fingerprint, "", Secret("pve", _Vault()))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("lab.clients.proxmox.api._WAITS", (0.001, 0.001, 0.001))
    monkeypatch.setattr("lab.clients.proxmox.tasks._QUICK", 0.001)


@pytest.fixture
def api(access):
    made = Api(access, threading.Event())
    yield made
    made.close()


@pytest.fixture(scope="session")
def recorded():
    """Label to the answer of a real node, as this server takes it."""
    if not RECORDED.exists():
        pytest.skip("../shared/pve/recordings.jsonl is not there")
    found = {}
    for line in RECORDED.read_text().splitlines():
        row = json.loads(line)
        said = row["response"]
        if said["status"] == 200:
            answer = said["json"]["data"]
        else:
            errors = (said["json"] or {}).get("errors")
            answer = (said["status"], said["reason"], *([errors] if errors else []))
        found[row["label"]] = answer
    return found

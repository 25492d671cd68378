"""The client against a stand-in that answers as an engine does, on a real socket."""

import http.server
import json
import socketserver
import threading

import pytest

from lab.clients.docker import Engine, Engines, Refused, usual_address, why_unreachable
from lab.errors import TransportError

VERSION = {"Version": "28.0.1", "ApiVersion": "1.48", "MinAPIVersion": "1.24"}


class StandIn(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Answering)
        self.address = f"unix://{path}"
        self.version = VERSION
        self.answers = {}
        self.seen = []


class Answering(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): ...

    def address_string(self):
        return "here"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        self.server.seen.append((self.command, self.path, body))
        path = self.path.partition("?")[0]
        default = (200, self.server.version) if path == "/version" else (200, {})
        status, content = self.server.answers.get(path, default)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


for verb in ("GET", "POST", "PUT", "DELETE"):
    setattr(Answering, f"do_{verb}", Answering.answer)


@pytest.fixture
def stand_in(tmp_path):
    with StandIn(tmp_path / "s") as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def engine(stand_in):
    return Engine(stand_in.address)


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.48", "1.24", "1.41"), ("1.52", "1.44", "1.44")],
    ids=["of its time", "newer", "too new for the old words"],
)
def test_both_sides_speak_the_same_version(stand_in, engine, newest, oldest, spoken):
    stand_in.version = {"ApiVersion": newest, "MinAPIVersion": oldest}
    engine.get("/info", doing="x")
    assert [path for _, path, _ in stand_in.seen] == ["/version", f"/v{spoken}/info"]


def test_questions_are_written_as_the_engine_reads_them(stand_in, engine):
    engine.get(
        "/volumes", {"filters": {"label": ["a=b"]}, "all": True, "changes": [1, 2]}, doing=""
    )
    path = stand_in.seen[-1][1]
    assert path == (
        "/v1.41/volumes?filters=%7B%22label%22%3A+%5B%22a%3Db%22%5D%7D&all=true&changes=1&changes=2"
    )


def test_what_is_not_there_is_none_and_may_be_deleted(stand_in, engine):
    gone = (404, {"message": "No such container: x"})
    stand_in.answers = {"/v1.41/containers/x/json": gone, "/v1.41/containers/x": gone}
    assert engine.get("/containers/x/json", doing="look") is None
    engine.delete("/containers/x", doing="remove it")
    stand_in.answers["/v1.41/containers/x/start"] = gone
    with pytest.raises(Refused, match=r"Unable to start: No such container: x\."):
        engine.post("/containers/x/start", doing="start")


def test_a_refusal_is_told_in_its_own_words(stand_in, engine):
    said = "port is already allocated\nsecond line\n"
    stand_in.answers["/v1.41/containers/x/start"] = (500, {"message": said})
    with pytest.raises(Refused) as caught:
        engine.post("/containers/x/start", doing="start x")
    assert caught.value.message == "Unable to start x: port is already allocated."
    assert caught.value.status == 500
    assert caught.value.lines == ("port is already allocated", "second line")
    stand_in.answers["/v1.41/containers/x/start"] = (502, b"")
    with pytest.raises(Refused, match="it answers with status 502"):
        engine.post("/containers/x/start", doing="start x")


def test_a_body_is_sent_whole_or_in_pieces(stand_in, engine):
    stand_in.answers["/v1.41/images/create"] = (200, b'{"status":"ok"}\n')
    pieces = iter([b"one", b"two" * 1000])
    assert engine.send("POST", "/images/create", {"a": "b"}, pieces, doing="x") == (
        b'{"status":"ok"}\n'
    )
    assert stand_in.seen[-1] == ("POST", "/v1.41/images/create?a=b", b"one" + b"two" * 1000)
    engine.post("/volumes/create", body={"Name": "n"}, doing="x")
    assert stand_in.seen[-1] == ("POST", "/v1.41/volumes/create", b'{"Name": "n"}')


def test_it_is_asked_about_itself_once(stand_in, engine):
    stand_in.answers["/v1.41/info"] = (200, {"NCPU": 4})
    assert engine.about() == engine.about() == {"NCPU": 4}
    assert [path for _, path, _ in stand_in.seen].count("/v1.41/info") == 1


def test_no_engine_is_told_with_what_mends_it(tmp_path):
    with pytest.raises(TransportError) as caught:
        Engine(f"unix://{tmp_path}/none").get("/info", doing="look")
    assert f"no Docker engine listens at unix://{tmp_path}/none" in caught.value.message
    assert "systemctl start docker" in caught.value.hint
    with pytest.raises(TransportError, match="is not an engine on this machine"):
        Engine("tcp://10.0.0.1:2375").get("/info", doing="look")


def test_one_that_may_not_be_used_names_the_group():
    cause, hint = why_unreachable("unix:///x", PermissionError(13, "denied"))
    assert cause == "you may not use the Docker engine at unix:///x"
    assert "--groups docker" in hint
    assert "in time" in why_unreachable("unix:///x", TimeoutError())[0]


def test_something_else_on_the_socket_is_no_engine(stand_in, engine):
    stand_in.shutdown()
    stand_in.RequestHandlerClass = socketserver.StreamRequestHandler  # says nothing, hangs up
    threading.Thread(target=stand_in.serve_forever, args=(0.01,), daemon=True).start()
    with pytest.raises(TransportError, match="broke"):
        engine.version()


def test_the_usual_address(tmp_path):
    assert usual_address({"DOCKER_HOST": "tcp://x:1"}) == "tcp://x:1"
    (tmp_path / "docker.sock").touch()
    found = usual_address({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found in {"unix:///var/run/docker.sock", f"unix://{tmp_path}/docker.sock"}


def test_a_pool_has_one_engine_an_address():
    pool = Engines()
    assert pool.at("unix:///a") is pool.at("unix:///a")
    assert [e.address for e in pool.used()] == ["unix:///a"]

"""The door: what it lets in, what it shows, and all that it does not."""

import base64
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from lab.clients import restic_door
from lab.clients.restic_door import USER, Door, Notes, opened, sweep
from lab.clients.restic_stores import FolderStore
from lab.errors import DriverError

KEY, OTHER = "1" * 64, "2" * 64


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("x")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@pytest.fixture
def door(tmp_path):
    folder = tmp_path / "store"
    for kind in ("data/ab", "keys", "locks", "index", "snapshots"):
        (folder / kind).mkdir(parents=True)
    (folder / "config").write_bytes(b"config")
    for place in (f"keys/{KEY}", f"keys/{OTHER}", f"snapshots/{KEY}", f"data/ab/{'ab' * 32}",
                  f"index/{KEY}"):  # fmt: skip
        (folder / place).write_bytes(place.encode())
    notes = Notes(tmp_path / "doors")
    made = Door(FolderStore(folder), KEY, notes)
    with opened(made, tmp_path / "s"):
        yield made
    notes.end()


@pytest.fixture
def ask(door, tmp_path):
    def ask(method, path, body=b"", credential=None, **headers):
        word = f"{USER}:{credential or door.credential}"
        headers["Authorization"] = "Basic " + base64.b64encode(word.encode()).decode()
        connection = Connection(tmp_path / "s")
        with closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    return ask


def named(content):
    return hashlib.sha256(content).hexdigest()


def test_it_shows_what_adding_needs_and_nothing_else(ask):
    assert ask("HEAD", "/config")[0] == 200
    assert ask("GET", "/config", Range="bytes=0-3") == (206, b"conf")
    assert [k["name"] for k in json.loads(ask("GET", "/keys/")[1])] == [KEY]
    assert ask("GET", f"/keys/{KEY}")[0] == ask("GET", f"/index/{KEY}")[0] == 200
    hidden = [
        f"/keys/{OTHER}", f"/snapshots/{KEY}", "/snapshots/", "/data/", f"/data/{'ab' * 32}", "/",
        "/keys/../config", "/../../etc/passwd", "/index/..%2f..%2fetc", "/config/x", "/locks",
        f"/index/{KEY}x", "/index/../keys/" + OTHER, "//etc/passwd", "/etc/passwd",
    ]  # fmt: skip
    assert {path: ask("GET", path)[0] for path in hidden} == dict.fromkeys(hidden, 404)


def test_it_takes_content_once_and_by_its_true_name_only(ask, door):
    content = os.urandom(3000)
    name = named(content)
    assert ask("POST", f"/data/{name}", content)[0] == 200
    assert door.store.path("data", name).read_bytes() == content
    assert ask("POST", f"/data/{name}", content)[0] == 403
    assert ask("POST", f"/data/{OTHER}", content)[0] == 400
    assert not door.store.path("data", OTHER).exists()
    there = f"data/{'ab' * 32}"
    assert ask("POST", f"/{there}", b"else")[0] == 403
    assert door.store.path(*there.split("/")).read_bytes() == b"data/ab/" + b"ab" * 32
    for path in ("/config", f"/keys/{name}", "/data/x", "/data/../x", f"/other/{name}"):
        assert ask("POST", path, content)[0] == 403, path
    for path in (f"/data/{name}", f"/keys/{KEY}", f"/snapshots/{KEY}", "/config", f"/index/{KEY}"):
        assert ask("DELETE", path)[0] == 403, path
    assert list(door.store.folder.rglob(".*")) == []


def test_a_body_that_is_cut_off_leaves_nothing(ask, door, tmp_path):
    content = os.urandom(3000)
    name = named(content)
    word = base64.b64encode(f"{USER}:{door.credential}".encode()).decode()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(tmp_path / "s"))
        head = f"POST /data/{name} HTTP/1.1\r\nAuthorization: Basic {word}\r\n"
        raw.sendall(f"{head}Content-Length: 3000\r\n\r\n".encode() + content[:1000])
    assert ask("POST", f"/data/{name}", content)[0] == 200
    assert door.store.path("data", name).read_bytes() == content


@pytest.mark.parametrize("credential", ["wrong", "", "x" * 32])
def test_a_stranger_is_shown_nothing(ask, credential):
    assert ask("GET", "/config", credential=credential or " ")[0] == 401


def test_one_snapshot_is_held_back_until_it_is_admitted(ask, door):
    first, second = b"first", b"second"
    assert ask("POST", f"/snapshots/{named(first)}", first)[0] == 200
    assert ask("POST", f"/snapshots/{named(second)}", second)[0] == 403
    place = door.store.path("snapshots", named(first))
    assert not place.exists()
    with pytest.raises(DriverError, match="no snapshot"):
        door.admit(named(second))
    door.admit(named(first))
    assert place.read_bytes() == first
    door.retract(named(first))
    assert not place.exists()


def test_its_key_and_the_locks_that_were_left_go_with_it(ask, door):
    lock, other = b"lock", door.store.path("locks", OTHER)
    other.write_bytes(b"somebody else's")
    assert ask("POST", f"/locks/{named(lock)}", lock)[0] == 200
    assert {entry["name"] for entry in json.loads(ask("GET", "/locks/")[1])} == {named(lock), OTHER}
    assert ask("DELETE", f"/locks/{OTHER}")[0] == 403
    door.shut()
    assert [p.name for p in (door.store.folder / "locks").iterdir()] == [OTHER]
    assert [p.name for p in (door.store.folder / "keys").iterdir()] == [OTHER]


def test_what_a_killed_run_left_is_swept_and_nothing_of_one_that_lives(tmp_path):
    doors, store = tmp_path / "doors", tmp_path / "store/keys"
    store.mkdir(parents=True)
    for name in (KEY, OTHER):
        (store / name).touch()
    (tmp_path / "precious").touch()
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from lab.clients.restic_door import Notes; n = Notes(Path(sys.argv[1]));"
        "from lab.clients.restic_stores import FolderStore; s = FolderStore(Path(sys.argv[2]));"
        "[n.add(s, *p.split('/', 1)) for p in sys.argv[3:]]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    lost = [str(doors), str(store.parent), f"keys/{KEY}", "../precious", "keys/../../precious"]
    subprocess.run([sys.executable, "-c", code, *lost], check=False)
    living = Notes(doors)
    at = FolderStore(store.parent)
    living.add(at, "keys", OTHER)
    sweep(doors, at)
    assert [p.name for p in store.iterdir()] == [OTHER]
    assert (tmp_path / "precious").exists(), "only keys and locks go"
    living.end()
    assert list(doors.iterdir()) == []


class Elsewhere:
    """A store that is not a folder; knows what was removed."""

    def __init__(self, place):
        self.place, self.removed = place, []

    def remove(self, kind, name):
        self.removed.append(f"{kind}/{name}")


def test_what_was_left_at_another_store_stays_noted_until_that_is_used_again(tmp_path):
    there, other = Elsewhere("rest:https://nas/lab/"), Elsewhere("s3:https://nas/lab")
    left = Notes(tmp_path)
    left.add(there, "keys", KEY)
    left._file.close()
    sweep(tmp_path, other)
    assert other.removed == []
    sweep(tmp_path, there)
    assert there.removed == [f"keys/{KEY}"]
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_fails_for_long_ends_the_push(ask, door, monkeypatch):
    def no(*_):
        raise DriverError("the disk of the store is full")

    monkeypatch.setattr(door.store, "read", no)
    assert ask("GET", "/config")[0] == 502
    door.check()
    monkeypatch.setattr(restic_door, "UNANSWERED", 0.0)
    with pytest.raises(DriverError, match="is full"):
        door.check()
    monkeypatch.undo()
    assert ask("GET", "/config")[0] == 200
    door.check()

"""S01, S02: tokens stand nowhere but where they are sent to."""

import base64
import json
import os
import re
import stat
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lab.errors import LabError
from lab.gitops.follower import folder_of
from lab.gitops.notices import Notices
from lab.gitops.serve import Service
from lab.gitops.settings import Settings
from lab.gitops.store import State
from lab.secrets import age

pytestmark = pytest.mark.slow

TOKEN = "canary-7f3a/+9c&e2'b0"
TOPIC = "canary-topic-51d8"
CANARIES = (TOKEN, TOPIC)


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("SOPS_AGE_KEY", age.new_key().private)


@contextmanager
def forge(status=201):
    """Everything that was posted."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", posts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def keep(clone, name, value):
    path = clone.base / "value"
    path.write_text(value)
    clone.run(
        "sh", "-c", f"'{__import__('sys').executable}' -P -m lab.cli secrets set {name} <{path}"
    )
    path.unlink()


def forms(value):
    raw = value.encode()
    return {raw, base64.b64encode(raw), json.dumps(value)[1:-1].encode(), raw.hex().encode()}


def leaks(*folders):
    """Files below in which a canary stands, as it is or encoded."""
    needles = [form for value in CANARIES for form in forms(value)]
    files = [p for folder in folders for p in Path(folder).rglob("*") if p.is_file()]
    assert files
    return [p for p in files if any(n in p.read_bytes() for n in needles)]


def of(text):
    return [value for value in CANARIES for form in forms(value) if form.decode() in text]


@pytest.fixture
def told(clone):
    """A lab whose tokens are its own secrets; a push, and what came of it."""
    with forge() as (url, posts):
        clone.lab("secrets", "init")
        keep(clone, "forge", TOKEN)
        keep(clone, "phone", f"{url.replace('http', 'ntfy')}/{TOPIC}")
        clone.commit("first")
        clone.install(
            *("--forge", "gitea", "--forge-url", url, "--forge-repository", "me/lab"),
            *("--forge-token", "secret:forge", "--notify", "!secret phone"),
        )
        clone.posts, clone.url = posts, url
        clone.shown = clone.push().said
        yield clone


def test_tokens_are_secrets_of_the_lab_and_reach_nothing_but_the_forge(told):
    (path, headers, begun), *_, (_, _, ended) = [p for p in told.posts if "statuses" in p[0]]
    assert path.startswith("/api/v1/repos/me/lab/statuses/")
    assert headers["Authorization"] == f"token {TOKEN}"
    assert (begun["state"], ended["state"]) == ("pending", "success")
    assert [p[2]["topic"] for p in told.posts if p[0] == "/"] == [TOPIC]
    assert "was not posted" not in told.shown
    assert "Applied:" in told.shown
    assert of(told.shown) == []
    assert of(json.dumps([body for *_, body in told.posts if "topic" not in body])) == []
    assert leaks(os.environ["XDG_STATE_HOME"], told.root, told.bare) == []


def test_what_is_kept_is_private_and_names_places_only(told):
    folder = folder_of("home")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "settings.json").stat().st_mode) == 0o600
    kept = json.loads((folder / "settings.json").read_text())
    assert kept["forge"]["token"] == "secret:forge"
    assert kept["notify"] == ["secret:phone"]
    for path in (folder / "logs").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for hook in ("pre-receive", "post-receive"):
        assert "forge" not in (told.bare / "hooks" / hook).read_text()


def test_a_worker_that_was_killed_leaves_no_token_behind(told):
    told.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = told.pushed(STRATA_FAULT="engine.l3_system.after_apply")
    assert told.newest().state is State.RUNNING
    assert of(shown.said) == []
    assert leaks(os.environ["XDG_STATE_HOME"], told.base) == []
    told.lab("gitops", "run")
    assert leaks(os.environ["XDG_STATE_HOME"], told.base) == []
    assert list(folder_of("home").glob("incoming-*")) == []


def test_a_rotated_token_counts_from_its_own_commit_on(told):
    keep(told, "forge", "the-second-token")
    told.pushed("rotated")
    assert told.posts[-1][1]["Authorization"] == "token the-second-token"


def test_a_commit_that_is_refused_is_told_with_the_last_good_token(told):
    told.posts.clear()
    told.git("rm", "-rq", "secrets")
    told.write("personas/web.yaml", "purpose: [")
    commit = told.commit("broken")
    follower = told.follower()
    told.git("push", "-q", str(told.bare), "main:refs/heads/aside")
    follower.receive(commit, None, "me")
    with follower.turn():
        assert follower.deal(follower.next(), lambda step: None) is State.REFUSED
    statuses = [(p[1]["Authorization"], p[2]["state"]) for p in told.posts if "statuses" in p[0]]
    assert statuses == [(f"token {TOKEN}", "pending"), (f"token {TOKEN}", "failure")]


def test_a_superseded_commit_does_not_stay_pending_at_the_forge(told):
    told.install("--mode", "ask")
    told.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    told.pushed()
    waiting = told.newest().commit
    told.edit("personas/web.yaml", "htop", "vim")
    told.pushed()
    words = [p[2] for p in told.posts if p[0].endswith(waiting)]
    assert [w["state"] for w in words] == ["pending", "pending", "success"]
    assert words[-1]["description"].startswith("superseded by")


def test_a_secret_that_is_not_there_is_refused_at_install(clone):
    clone.commit("first")
    done = clone.lab(
        *("gitops", "install", "--repository", clone.bare, "--notify", "secret:phone"), ok=(3,)
    )
    assert "there is no secret 'phone' in this lab yet" in done.stderr
    assert not (folder_of("home") / "settings.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--notify", "discord://4711/canary-topic-51d8"],
        ["--notify", "ntfys://canary-topic-51d8@ntfy.lan/mine"],
        ["--webhook", "127.0.0.1:1", "--webhook-secret", "canary-topic-51d8"],
        ["--webhook", "127.0.0.1:1", "--webhook-secret", "canary-topic-51d8:x"],
        [
            *("--forge", "gitea", "--forge-url", "http://x", "--forge-repository", "a/b"),
            *("--forge-token", "canary-topic-51d8"),
        ],
        ["--poll", "https://me:canary-topic-51d8@git.lan/lab.git"],
        ["--poll", "https://canary-topic-51d8@git.lan/lab.git"],
        ["--poll", "https://me:canary-topic-51d8@git.lan/la b.git"],
        ["--poll", "ssh://git:canary-topic-51d8@git.lan/lab.git"],
    ],
)
def test_a_token_in_plain_text_is_neither_taken_nor_repeated(clone, words):
    clone.commit("first")
    where = [] if "--poll" in words else ["--repository", clone.bare]
    done = clone.lab("gitops", "install", *where, *words, ok=(3,))
    assert of(done.stdout + done.stderr) == []
    assert not (folder_of("home") / "settings.json").exists()


@pytest.mark.parametrize("token", ["canary-7f3a/+9c&e2'b0\r\nX-Evil: 1", "canary-7f3a/+9c&e2'b0\0"])
def test_a_token_that_no_header_can_carry_is_not_told_either(token):
    settings = Settings.model_validate(
        {
            "repository": "/r",
            "forge": {"kind": "gitea", "url": "http://127.0.0.1:9", "repository": "me/lab",
                      "token": "env:TOKEN"},
        }
    )  # fmt: skip

    def revealed(place):
        from lab.masking import hide

        hide(token, place)
        return token

    request = type("R", (), {"commit": "ab" * 20, "id": 1})()
    (said,) = Notices(settings, "home", revealed).begun(request)
    assert "was not posted" in said
    assert of(said) == []
    assert not re.search("canary", said)


def test_a_webhooks_secret_is_learnt_from_the_lab_and_follows_its_rotation(
    clone, make_desk, tmp_path
):
    clone.lab("secrets", "init")
    keep(clone, "hook", "the first")
    desk = make_desk()
    clone.commit("first")
    clone.push()
    desk.set(repository=str(tmp_path / "clone.git"), url=str(clone.bare))
    service = Service(desk.follower, lambda step: None, lambda text: None)
    service._learn_secret("secret:hook")  # nothing was fetched yet
    assert service._secret == "the first"
    where = {"webhook": "127.0.0.1:1", "webhook_secret": "secret:hook"}
    desk.set(repository=str(tmp_path / "clone.git"), url=str(clone.bare), **where)
    service._follower = desk.follower
    keep(clone, "hook", "the second")
    clone.pushed("rotated")
    service.look()
    assert service._secret == "the second"


def test_a_commit_that_nobody_signed_brings_no_secrets(told, tmp_path):
    signers = tmp_path / "signers"
    signers.write_text("")
    settings = json.loads((folder_of("home") / "settings.json").read_text())
    Settings.model_validate({**settings, "signers": str(signers)}).write(folder_of("home"))
    with told.follower().turn(), pytest.raises(LabError, match="Unable to accept the commit"):
        told.follower().reveal("secret:forge")

"""Polling, webhooks, the status of a commit and messages: all against servers of our own."""

import hashlib
import hmac
import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from lab.errors import LabError
from lab.gitops import serve
from lab.gitops.notices import Notices, notify
from lab.gitops.serve import Service
from lab.gitops.settings import Settings
from lab.gitops.store import Request, State
from lab.gitops.webhook import MAX_BODY, listening

SECRET = "a webhook's secret"
REQUEST = Request(7, "1a2b3c4d5e6f" + "0" * 28, None, "me", 0.0, None, State.RUNNING, (), "")


def signature(body, secret=SECRET):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(port, body=b"{}", **headers):
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/any", body, named, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.fixture
def hook():
    hints = []
    with listening("127.0.0.1:0", lambda: SECRET, lambda: hints.append(1)) as port:
        yield port, hints


@pytest.mark.parametrize(
    ("header", "prefix"),
    [("X_Hub_Signature_256", "sha256="), ("X_Gitea_Signature", ""), ("X_Forgejo_Signature", "")],
)
def test_a_signed_webhook_is_a_hint(hook, header, prefix):
    port, hints = hook
    body = b'{"ref": "refs/heads/main"}'
    assert post(port, body, **{header: prefix + signature(body)}) == 202
    assert hints == [1]
    assert post(port, body + b" ", **{header: prefix + signature(body)}) == 403
    assert post(port, body, **{header: prefix + signature(body, "guessed")}) == 403
    assert post(port, body, **{header: ""}) == 403
    assert hints == [1]


def test_a_gitlab_webhook_brings_the_secret_itself(hook):
    port, hints = hook
    assert post(port, X_Gitlab_Token=SECRET) == 202
    assert post(port, X_Gitlab_Token="guessed") == 403
    assert post(port, X_Gitlab_Token="") == 403
    assert hints == [1]


def test_a_webhook_without_any_proof_or_too_large_is_turned_away(hook):
    port, hints = hook
    assert post(port) == 403
    with urllib.request.socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1))
        assert b" 413 " in raw.recv(200)
    assert hints == []


def test_a_wrong_first_signature_is_not_made_good_by_a_second_header(hook):
    port, hints = hook
    good = signature(b"{}")
    assert post(port, X_Hub_Signature_256="sha256=0", X_Gitea_Signature=good) == 403
    assert hints == []


def test_a_port_that_is_taken_is_told(hook):
    port, _ = hook
    with (
        pytest.raises(LabError, match="Unable to listen for webhooks"),
        listening(f"127.0.0.1:{port}", lambda: SECRET, lambda: None),
    ):
        pass


class Forge:
    """An HTTP server that remembers what was posted."""

    def __init__(self, status=201, headers=()):
        forge = self
        self.posts = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                forge.posts.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def forge(**more):
    made = Forge(**more)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def notices(url, kind="gitea", **more):
    settings = Settings.model_validate(
        {
            "repository": "/r",
            "forge": {"kind": kind, "url": url, "repository": "me/lab", "token": "env:TOKEN"},
            **more,
        }
    )
    return Notices(settings, "home")


@pytest.mark.parametrize(
    ("kind", "path", "header", "value", "failure"),
    [
        ("gitea", "/api/v1/repos/me/lab/statuses/", "Authorization", "token t0ken", "failure"),
        ("forgejo", "/api/v1/repos/me/lab/statuses/", "Authorization", "token t0ken", "failure"),
        ("github", "/repos/me/lab/statuses/", "Authorization", "Bearer t0ken", "failure"),
        ("gitlab", "/api/v4/projects/me%2Flab/statuses/", "Private-Token", "t0ken", "failed"),
    ],
)
def test_the_status_of_a_commit_is_posted_as_each_forge_wants_it(
    monkeypatch, kind, path, header, value, failure
):
    monkeypatch.setenv("TOKEN", "t0ken")
    with forge() as there:
        told = notices(there.url, kind)
        assert list(told.begun(REQUEST)) == []
        assert list(told.ended(REQUEST, State.FAILED, "web1 did not get through")) == []
        assert list(told.ended(REQUEST, State.APPLIED, "x" * 500)) == []
    paths, headers, bodies = zip(*there.posts, strict=True)
    assert set(paths) == {path + REQUEST.commit}
    assert headers[0][header] == value
    assert [b["state"] for b in bodies] == ["pending", failure, "success"]
    assert bodies[1]["description"] == "web1 did not get through"
    assert len(bodies[2]["description"]) == 140


def test_a_token_never_follows_a_redirect(monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken")
    with forge() as thief, forge(status=302, headers=[("Location", thief.url)]) as there:
        said = list(notices(there.url).begun(REQUEST))
    assert thief.posts == []
    assert "answered 302" in said[0]


def test_a_forge_that_is_down_is_a_sentence_and_no_failure(monkeypatch):
    monkeypatch.setenv("TOKEN", "t0ken")
    with forge() as there:
        pass
    (said,) = notices(there.url).begun(REQUEST)
    assert "was not posted" in said
    assert "t0ken" not in said


def test_a_token_that_is_missing_is_a_sentence(monkeypatch):
    monkeypatch.delenv("TOKEN", raising=False)
    (said,) = notices("http://127.0.0.1:9").begun(REQUEST)
    assert "the environment variable TOKEN is empty" in said


def test_a_message_goes_to_ntfy_and_says_how_to_approve():
    with forge(status=200) as there:
        topic = f"{there.url.replace('http', 'ntfy')}/my-lab"
        settings = Settings(repository="/r", notify=(topic,))
        said = list(Notices(settings, "home").ended(REQUEST, State.WAITING, "web1 waits"))
        list(Notices(settings, "home").ended(REQUEST, State.UNCHANGED, "it touches no host"))
    assert said == []
    ((path, _, body),) = there.posts
    assert path == "/"
    assert body == {
        "topic": "my-lab",
        "title": "home: waiting",
        "message": "1a2b3c4d5e6f: web1 waits\nlab approve 7",
    }


def test_other_kinds_of_messages_need_apprise():
    with pytest.raises(LabError, match="Apprise is not installed"):
        notify("discord://a/b", "title", "text")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "ext::sh"}, "remote helpers"),
        ({"branch": "-x"}, "not the name of a branch"),
        ({"webhook": "127.0.0.1:80"}, "needs a secret"),
        ({"webhook": "here", "webhook_secret": "env:X"}, "ADDRESS:PORT"),
        ({"webhook_secret": "hunter2"}, "never the secret"),
        ({"every": "often"}, "is not a duration"),
        ({"version": 2}, "Input should be 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"repository": "/r", **wrong})


# -- the loop -------------------------------------------------------------------------------------


@pytest.fixture
def service(desk, tmp_path):
    desk.set(repository=str(tmp_path / "clone.git"), url=str(desk.clone.bare))
    desk.notes = []
    return Service(desk.follower, desk.steps.append, desk.notes.append)


def test_a_new_commit_is_found_and_dealt_with_once(desk, service):
    desk.clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    desk.clone.commit()
    desk.clone.push()
    service.look()
    service.look()
    assert desk.clone.packages("web2") == {"curl", "htop"}
    assert len(desk.follower.store.requests(9)) == 2


def test_a_remote_that_is_down_is_told_once_and_once_more_when_it_is_back(desk, service, tmp_path):
    service.look()
    desk.clone.bare.rename(tmp_path / "away.git")
    service.look()
    service.look()
    (tmp_path / "away.git").rename(desk.clone.bare)
    service.look()
    assert len(desk.notes) == 2
    assert "The last good clone serves" in desk.notes[0]
    assert desk.notes[1] == "The remote answers again."


def test_bad_yaml_on_a_polled_branch_is_refused_and_the_next_commit_taken(desk, service):
    desk.clone.edit("personas/web.yaml", "packages:", "packges:")
    desk.clone.commit()
    desk.clone.push()
    service.look()
    service.look()
    assert desk.clone.newest().state is State.REFUSED
    desk.clone.edit("personas/web.yaml", "packges: [curl]", "packages: [curl, vim]")
    desk.clone.commit()
    desk.clone.push()
    service.look()
    assert desk.clone.packages("web1") == {"curl", "vim"}


def test_a_commit_that_failed_is_tried_again_after_a_while(desk, service, monkeypatch):
    desk.follower.store.end(desk.clone.newest().id, State.FAILED, (), "out of luck")
    service.look()
    assert desk.clone.newest().state is State.FAILED
    monkeypatch.setattr(serve, "RETRY", 0.0)
    service.look()
    assert desk.clone.newest().state is State.UNCHANGED


def test_a_webhook_wakes_the_loop_and_stop_ends_it(desk, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK", SECRET)
    with forge() as free:
        port = free.server.server_address[1]
    desk.set(
        repository=str(tmp_path / "clone.git"),
        url=str(desk.clone.bare),
        every="1h",
        webhook=f"127.0.0.1:{port}",
        webhook_secret="env:HOOK",
    )
    looked = threading.Semaphore(0)
    service = Service(desk.follower, lambda step: None, lambda text: None)
    monkeypatch.setattr(service, "look", looked.release)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        assert looked.acquire(timeout=10)
        assert post(port, X_Gitlab_Token=SECRET) == 202
        assert looked.acquire(timeout=10)
    finally:
        service.stop()
        thread.join(10)
    assert not thread.is_alive()

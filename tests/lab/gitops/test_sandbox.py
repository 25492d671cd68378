"""Edit and push against real hosts: real git, a real bare repository, sshd and systemd."""

import hashlib
import hmac
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from lab.gitops.store import State

pytestmark = pytest.mark.engine

WEB = "purpose: web\nsystem:\n  files: {/etc/motd: {source: motd, mode: '0644'}}\n"
DB = "purpose: db\nsystem:\n  directories: {/srv/db: {mode: '0750'}}\n"
NAMES = ("g1", "g2", "g3")


@pytest.fixture(scope="module")
def hosts(sandbox):
    return {name: sandbox.host(name) for name in NAMES}


class Fleet:
    """g1 and g2 are web, g3 is db; what sshd let in is counted."""

    def __init__(self, clone, hosts):
        self.clone, self.hosts = clone, hosts
        for name in ("personas/web/motd", "personas/db/motd"):
            (clone.root / name).unlink()
        clone.write("lab.yaml", "name: home\nproviders:\n  there: {kind: existing}\n")
        clone.write("personas/web.yaml", WEB)
        clone.write("personas/db.yaml", DB)
        clone.write("personas/web/motd", "one\n")
        lines = [
            f"  {name}:\n    persona: {'db' if name == 'g3' else 'web'}\n    provider: there\n"
            f"    address: {host.address}\n    existing:\n      user: {host.user}\n"
            f"      port: {host.port}\n      host_key: {host.host_key}\n"
            f"      identity_file: {host.identity_file}\n"
            for name, host in hosts.items()
        ]
        clone.write("inventory/hosts.yaml", "hosts:\n" + "".join(lines))

    def logins(self):
        """How often sshd let somebody in, on each host."""
        counted = "journalctl --sync; journalctl -t sshd -t sshd-session -o cat --no-pager"
        return {n: h.run(counted).count("Accepted publickey") for n, h in self.hosts.items()}

    def motd(self, name):
        return self.hosts[name].run("cat /etc/motd").strip()

    def commit_on(self, name):
        return re.search(
            r"^commit=(.*)$", self.hosts[name].run("cat /var/lib/strata/commit"), re.MULTILINE
        )[1]

    def until(self, true, seconds=120.0):
        ends = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < ends, "it never happened"
            time.sleep(0.1)


@pytest.fixture
def fleet(clone, hosts):
    """Pushed and converged; the hooks apply."""
    fleet = Fleet(clone, hosts)
    for host in hosts.values():
        host.run("rm -rf /var/lib/strata /srv/db")
    clone.commit("first")
    clone.install()
    assert "Applied:" in clone.push().said
    return fleet


def test_an_edited_persona_converges_just_its_hosts_and_logs_in_nowhere_else(fleet):
    clone, before = fleet.clone, fleet.logins()
    first = clone.newest().commit[:12]
    clone.write("personas/web/motd", "two\n")
    shown = clone.pushed("another motd")
    assert "Touches g1, g2; 1 other as before." in shown.said
    assert "Converged: 2 changes on 2 hosts" in shown.said
    assert (fleet.motd("g1"), fleet.motd("g2")) == ("two", "two")
    after = fleet.logins()
    assert after["g3"] == before["g3"]
    assert after["g1"] > before["g1"]
    assert after["g2"] > before["g2"]
    second = clone.newest().commit[:12]
    assert {n: fleet.commit_on(n) for n in NAMES} == {"g1": second, "g2": second, "g3": first}
    assert f"{second} applied" in clone.lab("wait", "HEAD").stdout


def test_bad_yaml_is_refused_in_the_pushs_own_output_and_no_host_is_asked(fleet):
    clone, before = fleet.clone, fleet.logins()
    clone.edit("personas/web.yaml", "files:", "filess:")
    shown = clone.pushed(ok=(1,))
    assert "personas/web.yaml:3:3: unknown key 'filess'; did you mean 'files'?" in shown.said
    assert fleet.logins() == before
    assert fleet.motd("g1") == "one"


def test_what_destroys_waits_for_approval_and_the_rest_goes_on(fleet):
    clone = fleet.clone
    fleet.hosts["g3"].run("echo precious >/srv/db/rows")
    clone.edit("personas/db.yaml", "directories: {/srv/db: {mode: '0750'}}",
               "absent: {/srv/db: {recursive: true}}")  # fmt: skip
    clone.write("personas/web/motd", "three\n")
    shown = clone.pushed()
    assert "g3 waits for approval" in shown.said
    assert fleet.motd("g2") == "three"
    assert fleet.hosts["g3"].run("cat /srv/db/rows") == "precious\n"
    number = str(clone.newest().id)
    assert "lab approve " + number in clone.lab("wait", "HEAD", ok=(2,)).stderr
    clone.lab("approve", number, "--yes", ok=(5,))
    assert fleet.hosts["g3"].run("cat /srv/db/rows") == "precious\n"
    clone.lab("approve", number, "--yes", "--confirm", "g3")
    assert fleet.hosts["g3"].run("ls -d /srv/db 2>/dev/null || echo gone") == "gone\n"


def test_the_newest_commit_supersedes_one_that_waits(fleet):
    clone = fleet.clone
    clone.install("--mode", "ask")
    clone.write("personas/web/motd", "four\n")
    clone.pushed()
    older = clone.newest()
    clone.write("personas/web/motd", "five\n")
    clone.pushed()
    assert "superseded" in clone.lab("wait", older.commit, ok=(5,)).stdout
    assert "superseded" in clone.lab("approve", older.id, "--yes", ok=(5,)).stderr
    clone.lab("approve", clone.newest().id, "--yes")
    assert fleet.motd("g1") == fleet.motd("g2") == "five"


def test_a_tried_branch_goes_back_by_itself_unless_it_is_kept(fleet):
    clone, before = fleet.clone, fleet.logins()
    first = fleet.commit_on("g1")
    clone.git("switch", "-q", "-c", "idea")
    clone.write("personas/web/motd", "an idea\n")
    tried = clone.commit("idea")[:12]
    clone.push("idea")
    clone.lab("try", "idea", "host=g1", "--for", "3s", "--yes")
    assert (fleet.motd("g1"), fleet.motd("g2")) == ("an idea", "one")
    assert fleet.commit_on("g1") == tried
    fleet.until(lambda: fleet.motd("g1") == "one")
    fleet.until(lambda: not clone.follower().store.trials())
    assert fleet.commit_on("g1") == first
    clone.lab("try", "idea", "host=g1", "--for", "1h", "--yes")
    clone.lab("try", "--keep", "host=g1")
    assert fleet.motd("g1") == "an idea"
    after = fleet.logins()
    assert {n: after[n] - before[n] for n in ("g2", "g3")} == {"g2": 0, "g3": 0}


def test_the_record_on_a_host_is_written_whole_once_and_is_no_drift(fleet):
    clone, host = fleet.clone, fleet.hosts["g1"]
    look = "stat -c '%i %y %a' /var/lib/strata/commit"
    said = host.run("cat /var/lib/strata/commit")
    assert re.fullmatch(r"commit=\w{12}\nrun=\S+\nat=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", said)
    before = host.run(look)
    assert before.split()[-1] == "600"
    assert clone.lab("plan").returncode == 0
    clone.lab("converge", "--yes")
    assert host.run(look) == before
    entropy = json.loads(clone.lab("entropy", "host=g1", "--json", ok=(0, 2)).stdout)
    assert "strata/commit" not in json.dumps(entropy)
    clone.write("personas/web/motd", "six\n")
    clone.lab("converge", "host=g1", "--yes")
    assert fleet.commit_on("g1") == clone.newest().commit[:12] + "+"
    host.run("rm -f /var/lib/strata/commit")
    clone.lab("converge", "host=g1", "--yes")
    assert fleet.commit_on("g1") == clone.newest().commit[:12] + "+"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def serving(clone):
    log = (clone.base / "serve.log").open("w+")
    service = subprocess.Popen(
        [sys.executable, "-P", "-m", "lab.cli", "gitops", "serve", "--name", "home"],
        env=clone.env, cwd=clone.base, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        yield service
    finally:
        service.terminate()
        code = service.wait(60)
        log.seek(0)
        said = log.read()
        log.close()
    assert code == 0, said
    assert "Traceback" not in said


def test_the_poller_acts_on_the_webhooks_of_every_forge_and_only_on_genuine_ones(
    clone, hosts, monkeypatch
):
    fleet, secret, port = Fleet(clone, hosts), "a webhook's secret", free_port()
    monkeypatch.setenv("HOOK", secret)
    clone.commit("first")
    clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
    clone.push()
    where = f"127.0.0.1:{port}"
    clone.lab(
        *("gitops", "install", "--poll", clone.bare, "--every", "1h"),
        *("--webhook", where, "--webhook-secret", "env:HOOK"),
        ok=None,  # there is no systemd here
    )
    body = b'{"ref": "refs/heads/main"}'
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    proofs = [
        {"X-Gitea-Signature": signed},
        {"X-Forgejo-Signature": signed},
        {"X-Hub-Signature-256": f"sha256={signed}"},
        {"X-Gitlab-Token": secret},
    ]

    def post(headers):
        request = urllib.request.Request(f"http://{where}/", body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    with serving(clone):
        clone.lab("wait", "HEAD")
        for number, proof in enumerate(proofs):
            clone.write("personas/web/motd", f"hook {number}\n")
            clone.pushed()
            forged = {k: v[:-1] + ("0" if v[-1] != "0" else "1") for k, v in proof.items()}
            assert post(forged) == 403
            assert clone.lab("wait", "HEAD", "--for", "1s", ok=(4,))
            assert post(proof) == 202
            assert "applied" in clone.lab("wait", "HEAD").stdout
            assert fleet.motd("g1") == fleet.motd("g2") == f"hook {number}"
    assert [r.state for r in clone.follower().store.requests(9)] == [State.APPLIED] * 5

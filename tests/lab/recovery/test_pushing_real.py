"""The push route through a real sshd: no restic there, a way that is cut, a whole capture."""

import shutil

import pytest

from lab.model.outcome import ExitCode
from lab.recovery import pushing, reading

pytestmark = [pytest.mark.engine, pytest.mark.slow]
PERSONA = """
system: none
data: {things: {paths: [/srv/things], route: push}}
"""
WRITTEN = """
mkdir -p /srv/things/deep; cd /srv/things
for n in $(seq 30); do head -c 700000 /dev/urandom > deep/$n; done; chown -R 1234:33 deep
"""


@pytest.fixture(scope="module")
def host(sandbox):
    made = sandbox.host("pushing")
    made.run(WRITTEN)
    yield made
    made.remove()


@pytest.fixture
def made(here, host):
    made = here()
    (made.root / "personas/p.yaml").write_text(PERSONA)
    login = f"user: {host.user}, port: {host.port}, identity_file: {host.identity_file}"
    (made.root / "inventory/hosts.yaml").write_text(
        f"hosts: {{me: {{persona: p, provider: here, address: {host.address},"
        f" existing: {{{login}, host_key: '{host.host_key}'}}}}}}\n"
    )
    return made


def kept(made):
    return sorted(p.name for kind in ("keys", "locks") for p in (made.store / kind).iterdir())


def test_over_ssh(made, host, monkeypatch):
    report = made.capture()
    assert "it has no restic" in report.run.parts[0].failure.message
    assert "route: pull" in report.run.parts[0].failure.hint
    host.docker("cp", shutil.which("restic"), f"{host.container}:/usr/local/bin/restic")
    keys = kept(made)

    take = pushing._Said.take

    def cutting(said, piece):
        said.way.process.kill()
        said.way.process.wait()
        take(said, piece)

    with monkeypatch.context() as patch:
        patch.setattr(pushing._Said, "take", cutting)
        (part,) = made.capture().run.parts
    assert "the way back from it was cut" in part.failure.message
    assert made.listing().captures == made.listing().unfinished == ()
    assert kept(made) == keys
    host.run("timeout 20 sh -c 'while pgrep -x restic; do sleep 0.2; done'")

    assert made.capture().exit_code is ExitCode.OK
    with made.lab() as lab:
        (capture,) = lab.captures.listing().captures
        manifest = reading.verified(lab.captures.repository, capture)
    assert (capture.files, {e.uid for e in manifest.entries if e.kind == "file"}) == (30, {1234})
    assert kept(made) == keys
    left = "ls -d /tmp/.strata-door-* /run/strata-push-* /root/.cache/restic 2>/dev/null || :"
    assert host.run(left) == "", "nothing is left on the host"

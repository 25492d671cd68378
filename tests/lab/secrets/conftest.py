"""An age key of the tests' own, a lab to keep secrets in, and the real sops where it was built."""

import os
import subprocess
from pathlib import Path

import pytest

from lab import masking
from lab.secrets import age
from lab.secrets.identities import Keyring
from lab.secrets.readers import wrapped_for
from lab.secrets.sops import document, sealing
from lab.secrets.sops.metadata import Metadata, Rule
from lab.secrets.sops.tree import Branch
from tests import peers


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory, monkeypatch):
    """No key of the person who runs the tests, and nothing hidden by an earlier test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    for name in [n for n in os.environ if n.startswith("SOPS_")]:
        monkeypatch.delenv(name)
    masking.forget()
    yield
    masking.forget()


@pytest.fixture
def key(monkeypatch):
    """A key that this person has."""
    pair = age.new_key()
    monkeypatch.setenv("SOPS_AGE_KEY", pair.private)
    return pair


@pytest.fixture
def sealed_text(key):
    """Encrypt a text in clear: ``sealed_text("a: 1\\n", "x.yaml", rule=…)``."""

    def make(text, name="x.yaml", rule=None, *, mac_only_encrypted=False, readers=()):
        path = Path(name)
        opened = document.begun(path, name)
        meta = Metadata(
            age=wrapped_for(opened.key, (key.public, *readers)),
            rule=rule or Rule(),
            mac_only_encrypted=mac_only_encrypted,
        )
        opened.sealed = document.Sealed(path, name, Branch(), meta)
        return sealing.lock(opened, document.parse(text, path, name))

    return make


@pytest.fixture
def opened(tmp_path):
    """Open an encrypted text: ``opened(text, "x.yaml")`` gives the Opened document."""

    def run(text, name="x.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return sealing.unlock(document.read(path, name), Keyring("test").unwrap)

    return run


@pytest.fixture
def sops(key, tmp_path):
    """The real one: ``sops("-d", "x.yaml")`` in the test's folder; skipped where it is not."""
    program = peers.program("sops")
    if program is None:
        pytest.skip("the real sops is not here: just peers builds it, where Go is installed")

    def run(*args, stdin=None, check=True, **env):
        done = subprocess.run(
            [program, *args],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SOPS_AGE_RECIPIENTS": key.public, **env},
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run

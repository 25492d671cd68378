"""A lab of one host, this machine, whose captures go into a real restic repository."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from lab import Lab
from lab.clients import restic


@dataclass
class Here:
    """The lab's root, and a folder whose content is what it captures."""

    root: Path
    data: Path
    store: Path

    def lab(self):
        return Lab.load(self.root)

    def capture(self, **more):
        with self.lab() as lab:
            return lab.capture("host=me", names=["things"], **more)

    def listing(self):
        with self.lab() as lab:
            return lab.captures.listing()

    def run(self, *words, fault=""):
        """The command line, in a process of its own."""
        env = {**os.environ, "STRATA_FAULT": fault}
        argv = [sys.executable, "-m", "lab.cli", *words, "--lab", str(self.root)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """An age key, and a lab's secrets with the password of the repository; made once."""
    if (restic.version() or (0,)) < restic.OLDEST:
        why = "needs restic 0.17 or newer: sudo tools/install-restic"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        write_lab(folder / "lab", folder / "data", folder / "store")
        with Lab.load(folder / "lab", secrets_may_lack=True) as lab:
            from lab.api.secrets import Recipe

            lab.secrets.begin()
            lab.secrets.generate("restic", Recipe("password"))
            password = lab.secrets.reveal("restic")
    make_store(folder / "quick-store", password)
    return folder


def make_store(store, password):
    """A real repository whose password costs nothing to try: each restic starts 0.4 s sooner.

    The key is the same, sealed again as restic does it, with the least that scrypt takes.
    """
    env = {**os.environ, "RESTIC_PASSWORD": password}
    subprocess.run(["restic", "--no-cache", "-r", store, "init", "-q"], env=env, check=True)
    (path,) = (store / "keys").iterdir()
    said = json.loads(path.read_bytes())
    data, salt = base64.b64decode(said["data"]), base64.b64decode(said["salt"])

    def sealing(**cost):
        key = hashlib.scrypt(password.encode(), salt=salt, dklen=64, maxmem=1 << 28, **cost)
        once = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor()
        mac = key[48:] + once.update(data[:16])
        stream = Cipher(algorithms.AES(key[:32]), modes.CTR(data[:16])).encryptor()
        return stream.update, lambda text: Poly1305.generate_tag(mac, text)

    crypt, tag = sealing(n=said["N"], r=said["r"], p=said["p"])
    assert tag(data[16:-16]) == data[-16:]
    whole = crypt(data[16:-16])
    crypt, tag = sealing(n=2, r=1, p=1)
    sealed = crypt(whole)
    said |= {"N": 2, "r": 1, "p": 1}
    said["data"] = base64.b64encode(data[:16] + sealed + tag(sealed)).decode()
    text = json.dumps(said).encode()
    path.with_name(hashlib.sha256(text).hexdigest()).write_bytes(text)
    path.unlink()


def write_lab(root, data, store, more=""):
    for name, text in {
        "lab.yaml": "name: here\nproviders: {here: {kind: existing}}\n"
        f"capture: {{repository: {{url: {store}, password: !secret restic}}}}\n",
        "personas/p.yaml": f"system: none\ndata: {{things: {{paths: [{data}]{more}}}}}\n"
        "lifecycle: {keep: {last: 99}}\n",
        "inventory/hosts.yaml": "hosts: {me: {persona: p, provider: here, address: local}}\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def disk(tmp_path):
    """A filesystem of its own, as data has one; marks lie on it, not on this machine's root."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a filesystem")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def here(keys, tmp_path, monkeypatch):
    """``here()``; with ``more`` (``", dump: …"``) of the one set of data.

    ``store``: whether a repository is there.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(keys))

    def make(more="", data=None, *, store=True):
        made = Here(tmp_path / "lab", data or tmp_path / "data", tmp_path / "store")
        shutil.copytree(keys / "lab", made.root, dirs_exist_ok=True)
        write_lab(made.root, made.data, made.store, more)
        if store and not made.store.exists():
            shutil.copytree(keys / "quick-store", made.store)
        made.data.mkdir(exist_ok=True)
        (made.data / "a").write_text("one\n")
        (made.data / "b").write_bytes(os.urandom(200_000))
        return made

    return make

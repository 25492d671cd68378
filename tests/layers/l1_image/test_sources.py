import subprocess
from pathlib import Path

import pytest

from lab.model.files import LabFile
from layers.l1_image import sources
from layers.l1_image.spec import Repository

QEMU = "10.0.2.2"
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.lan/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://127.0.0.1:3142/security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.lan/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://php.lan/
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/php.gpg
"""


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def found(etc):
    return [(s.uri, s.pocket, s.components) for s in sources.read(etc, {}).sources]


def test_the_newer_form_is_read_and_strangers_are_left_out(etc):
    (etc / "sources.list.d/debian.sources").write_text(DEB822)
    assert found(etc) == [
        ("http://mirror.lan/debian", "", ("main", "contrib")),
        ("http://mirror.lan/debian", "-updates", ("main", "contrib")),
        ("http://127.0.0.1:3142/security", "-security", ("main",)),
    ]


def test_the_older_form_is_read(etc):
    (etc / "sources.list").write_text(
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://mirror.lan/debian/ bullseye main # ours\n"
        "deb-src http://mirror.lan/debian bullseye main\n"
        "#deb http://off.lan/debian bullseye main\n"
        "deb http://mirror.lan/debian jammy main\n"
        "deb cdrom:[Debian]/ bullseye main\n"
        "deb http://mirror.lan/security bullseye/updates main\n"
    )
    assert found(etc) == [
        ("http://mirror.lan/debian", "", ("main",)),
        ("http://mirror.lan/security", "-security", ("main",)),
    ]


def test_a_machine_without_debian_sources_has_none(etc):
    assert found(etc) == []


def test_another_suite_takes_the_same_mirror():
    source = sources.Source("http://mirror.lan/debian", "-security", ("main",))
    assert (
        source.line("trixie", keyring="") == "deb http://mirror.lan/debian trixie-security main\n"
    )


def test_the_guest_reaches_this_machines_loopback_by_its_other_name():
    source = sources.Source("http://127.0.0.1:3142/debian", "", ("main",))
    assert "URIs: http://10.0.2.2:3142/debian\n" in source.stanza("trixie", QEMU)
    assert sources.as_guest("http://localhost.lan/x", QEMU) == "http://localhost.lan/x"


def test_a_proxy_is_passed_on_and_its_password_and_our_paths_are_not():
    apt = sources.Apt(
        sources=(),
        options=(
            ("Acquire::http::Proxy", "http://localhost:3142"),
            ("Acquire::https::Proxy", "http://me:secret@proxy.lan"),
            ("Acquire::https::CaInfo", "/etc/ssl/own.pem"),
            ("Acquire::Check-Valid-Until", "false"),
        ),
        certificates=(),
    )
    conf = apt.guest_conf(QEMU)
    assert 'Acquire::http::Proxy "http://10.0.2.2:3142";' in conf
    assert 'Acquire::Check-Valid-Until "false";' in conf
    assert "secret" not in conf
    assert "own.pem" not in conf


def test_a_proxy_of_the_environment_counts(etc):
    apt = sources.read(etc, {"http_proxy": "http://proxy.lan:8080"})
    assert ("Acquire::http::Proxy", "http://proxy.lan:8080") in apt.options


def test_a_binary_key_becomes_the_text_that_gpg_would_write():
    key = bytes(range(200))
    text = sources.armored(key)
    assert text.splitlines()[0] == "-----BEGIN PGP PUBLIC KEY BLOCK-----"
    assert sources.armored(text.encode()) == text
    assert sources._crc24(b"123456789") == 0x21CF02  # the catalogue's check value of CRC-24/OPENPGP


def test_a_repository_carries_its_key_inside():
    repository = Repository.model_validate(
        {
            "name": "own",
            "uri": "http://127.0.0.1:8000/debian",
            "suites": ["trixie"],
            "key": LabFile("own.gpg", b"\x99\x01key"),
        }
    )
    here = sources.repository_stanza(repository)
    assert "URIs: http://127.0.0.1:8000/debian\n" in here
    assert "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n" in here
    assert "10.0.2.2:8000" in sources.repository_stanza(repository, QEMU)


def test_a_real_key_survives_the_armor(tmp_path):
    keyring = sources.KEYRING
    listing = ["gpg", "--homedir", tmp_path, "--batch", "--show-keys", "--with-colons"]
    try:
        plain = subprocess.run([*listing, keyring], capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no gpg, or no Debian keyring on this machine")
    (tmp_path / "key.asc").write_text(sources.armored(Path(keyring).read_bytes()))
    armored = subprocess.run([*listing, tmp_path / "key.asc"], capture_output=True, check=True)
    assert armored.stdout == plain

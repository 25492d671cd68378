"""What is looked at and run for users, repositories and authorities: strings, as strings."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.model.plan import Action, Change, FieldDiff, to_json
from lab.model.secret import Secret
from layers.l3_system import planner
from layers.l3_system.kinds import certificate_authority, password, repository, service, user
from layers.l3_system.kinds.kind import Place, Section, View, Wanted, quote
from layers.l3_system.kinds.user_script import _filled
from layers.l3_system.spec import Document, Observed, Spec, Thing
from layers.l3_system.spec.repository import Repository

HASH = "$6$saltsalt$" + "a" * 86
HERE = Place("web1")


class Vault:
    def __init__(self, value: str) -> None:
        self.value = value

    def reveal(self, name: str) -> str:
        return self.value

    def fingerprint(self, name: str) -> str:
        return ""

    def problem(self, name: str) -> None:
        return None


def _user(value: str = HASH, **more) -> Wanted:
    declared = {"password_hash": Secret("ops_pw", Vault(value)), **more}
    (part,) = planner.parts(Document.model_validate({"system": {"users": {"ops": declared}}}))
    assert isinstance(part.spec, Spec)
    return user.wanted(part.spec, HERE)["ops"]


def _compared(wanted: Wanted, found: dict, owned: dict[str, str] | None = None):
    fields = {"groups": [], "authorized_keys": [], **found}
    observed = Observed(things={"user": {"ops": Thing(fields=fields)}}, owned=owned or {})
    return user.compare("ops", View({"user": {"ops": wanted}, "group": {}}, observed))


def _sections(*parts: tuple[tuple[str, ...], str]) -> list[Section]:
    return [Section(words, body.encode()) for words, body in parts]


def test_a_password_is_compared_and_never_held():
    found = user.parse(
        _sections((("passwd",), "ops:x:1:1:c:/h:/s\n"), (("shadow",), f"ops:{HASH}\n"))
    )
    assert HASH not in repr(found)
    assert _compared(_user(), {"password_hash": found["ops"].fields["password_hash"]}) is None
    change = _compared(_user(), {"password_hash": password.fingerprint("$6$other")})
    assert [(f.field, f.after, f.secret) for f in change.fields] == [
        ("password_hash", "(secret ops_pw)", True)
    ]
    shown = to_json(change)["fields"][0]
    assert (shown["before"], shown["after"]) == ("(secret)", "(secret)")


def test_a_locked_password_is_none():
    assert {password.fingerprint(f) for f in ("*", "!", "!!")} == {None}
    assert password.fingerprint("") is not None
    assert password.fingerprint(f"!{HASH}") != password.fingerprint(HASH)


def test_a_secret_is_not_revealed_for_a_user_that_is_to_be_made():
    class Locked(Vault):
        def reveal(self, name: str) -> str:
            raise AssertionError(name)

    wanted = Wanted(_user().fields, more={"password": Secret("ops_pw", Locked(""))})
    change = user.compare("ops", View({"user": {"ops": wanted}, "group": {}}, Observed()))
    assert isinstance(change, Change)
    assert [f.secret for f in change.fields] == [True]


@pytest.mark.parametrize("value", ["hunter2", "", "$6$short", f"{HASH}\nops:x", f"x:{HASH}"])
def test_what_is_no_hash_is_refused_without_showing_it(value):
    with pytest.raises(LabError, match=r"secret ops_pw as the password_hash of user ops") as caught:
        _compared(_user(value), {"password_hash": "sha256:x"})
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        f"{HASH}\n",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$5$rounds=10000$saltstringsaltst$3xv.VbSCBX41eDL9L3voMhUFjGmXxQxX4KxKp.6Qbu5",
    ],
)
def test_hashes_of_crypt_are_taken(value):
    assert password.hash_of(Secret("x", Vault(value)), "ops") == value.strip()


def test_a_hash_is_in_no_argument_of_a_program():
    change = Change(
        Action.CREATE, "user ops", (FieldDiff("password_hash", None, "x", secret=True),)
    )
    (step,) = user.steps([change], {"ops": _user()})
    (line,) = [line for line in step.script.splitlines() if HASH in line]
    assert line == f"printf '%s\\n' 'ops:{HASH}' | chpasswd -e"


def test_a_password_of_ours_goes_back_when_it_is_no_longer_declared():
    change = _compared(Wanted({}), {"password_hash": "sha256:x"}, {"password ops": "made"})
    (step,) = user.steps([change], {"ops": Wanted({})})
    assert "<$lib/passwords/ops" in step.script
    assert "disown 'password ops'" in step.script


def test_what_is_known_of_the_host_is_read_with_its_users():
    found = user.parse(
        _sections(
            (("passwd",), "ops:x:1:1:c:/h:/s\n"),
            (("groups",), "sudo:x:27:ops\ngames:x:60:\n"),
            (("shells",), "/bin/zsh\n"),
            (("keys", "ops"), "ssh-rsa AAAAa\n"),
            (("keys", "ops"), "# x\nno-pty  ssh-rsa AAAAb b\n"),
        )
    )
    assert found[""].facts == {"groups": ["sudo", "games"], "no_shells": ["/bin/zsh"]}
    assert found["ops"].fields["groups"] == ["sudo"]
    assert found["ops"].fields["authorized_keys"] == ["no-pty ssh-rsa AAAAb b", "ssh-rsa AAAAa"]


def test_only_a_declared_removal_touches_the_home():
    change = Change(Action.DELETE, "user ops", (FieldDiff("home", "/home/ops", None),))
    (kept,) = user.steps([change], {})
    (also,) = user.steps([change], {"ops": Wanted({}, absent=True)})
    (gone,) = user.steps([change], {"ops": Wanted({}, absent=True, more={"remove_home": True})})
    assert "rm -rf" not in kept.script + also.script
    assert 'rm -rf --one-file-system -- "$home"' in gone.script
    assert '[ "$uid" != 0 ]' in gone.script


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")))
def test_a_value_is_never_taken_for_a_word_of_the_script(value):
    assert _filled("A B", A=quote(value), B="x") == f"{quote(value)} x"


def test_deb822():
    declared = Repository.model_validate(
        {
            "uris": ["https://a/b", "https://c"],
            "suites": "trixie",
            "components": ["main", "contrib"],
            "architectures": ["amd64"],
            "types": ["deb", "deb-src"],
            "keyring": "/usr/share/keyrings/x.gpg",
        }
    )
    assert repository.sources("x", declared) == (
        "Types: deb deb-src\nURIs: https://a/b https://c\nSuites: trixie\n"
        "Components: main contrib\nArchitectures: amd64\nSigned-By: /usr/share/keyrings/x.gpg\n"
    )


def test_a_repository_is_what_its_files_say():
    text = "Types: deb\n"
    found = repository.parse(
        _sections(
            (("sources", "a"), text),
            (("fetched", "a"), ""),
            (("sources", "b"), text),
            (("keys",), "abc  /etc/apt/keyrings/a.asc\n"),
        )
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert found["a"].fields == {"sources": digest, "key": "abc", "fetched": True}
    assert found["b"].fields == {"sources": digest, "key": None, "fetched": False}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_a_fingerprint_is_the_one_that_openssl_tells(tmp_path):
    key, pem = tmp_path / "key", tmp_path / "pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            str(key),
            "-out",
            str(pem),
        ],
        check=True,
        capture_output=True,
    )
    said = subprocess.run(
        ["openssl", "x509", "-in", str(pem), "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    told = said.strip().partition("=")[2].replace(":", "").lower()
    assert certificate_authority._fingerprint(b"some text\n" + pem.read_bytes()) == told
    assert certificate_authority._pem(b"some text\n" + pem.read_bytes()) == pem.read_bytes()


def test_an_authority_is_trusted_only_if_it_is_linked_and_in_the_bundle():
    body = base64.b64encode(bytes(range(96))).decode()
    lines = ["-----BEGIN CERTIFICATE-----", body[:64], body[64:], "-----END CERTIFICATE-----"]

    def rows(name: str, there: int) -> str:
        path = f"/usr/local/share/ca-certificates/strata-{name}.crt"
        return "".join(f"{path}\t{line}\t{there}\n" for line in lines)

    found = certificate_authority.parse(
        _sections(
            (("link", "a"), ""), (("link", "b"), ""), (("lines",), rows("a", 1) + rows("b", 0))
        )
        + _sections((("lines",), rows("c", 1)))
    )
    assert {n: t.fields["trusted"] for n, t in found.items()} == {"a": True, "b": False, "c": False}
    assert {t.fields["sha256"] for t in found.values()} == {
        hashlib.sha256(bytes(range(96))).hexdigest()
    }


def test_a_service_that_its_package_started_reads_the_files_that_came_later():
    change = Change(Action.CREATE, "service x.service", (FieldDiff("state", None, "running"),))
    wanted = {"state": "running", "enabled": True}
    (step,) = service.steps([change], {"x.service": Wanted(wanted, watched=("/etc/x",))})
    assert "systemctl restart x.service" in step.script
    (step,) = service.steps([change], {"x.service": Wanted(wanted)})
    assert "systemctl start x.service" in step.script

"""``!secret`` in lab files: found missing at its place, refused where it would be shown."""

import json

import pytest
from pydantic import BaseModel

from lab.config import secret_uses
from lab.engine.digests import Digests, digest_of
from lab.errors import ConfigError
from lab.model.host import Host, Part
from lab.model.secret import NoSecrets, Secret, SecretName, SecretText, TextOrSecret


class Known:
    """Two secrets, whose values change when told."""

    def __init__(self, version="1"):
        self.version = version

    def reveal(self, name):
        return f"value of {name} {self.version}"

    def fingerprint(self, name):
        return f"{name}{self.version}"

    def problem(self, name):
        return None if name in {"one", "two"} else f"there is no secret {name!r}"

    def problems(self):
        return ()


class Spec(BaseModel):
    must: SecretText
    may: TextOrSecret = "text"
    free: dict[str, TextOrSecret] = {}


CONTEXT = {"reader": None, "secrets": Known()}
ONE = SecretName("one")


def spec(version="1", **fields):
    return Spec.model_validate(
        {"must": ONE, **fields}, context={**CONTEXT, "secrets": Known(version)}
    )


def test_a_field_takes_a_secret_and_gives_its_value_when_asked():
    made = spec(may=SecretName("two"), free={"a": "b", "c": ONE})
    assert made.must.reveal() == "value of one 1"
    assert made.may.reveal() == "value of two 1"
    assert made.free == {"a": "b", "c": Secret("one")}


@pytest.mark.parametrize("wrong", ["hunter2", "(secret one)", 5, None])
def test_a_value_in_clear_is_refused_and_not_repeated(wrong):
    with pytest.raises(ValueError, match="never the value itself"):
        Spec.model_validate({"must": wrong}, context=CONTEXT)


def test_whatever_writes_a_secret_writes_its_name():
    made = spec(may=SecretName("two"))
    text = made.model_dump_json() + repr(made) + str(made.must) + repr(made.must)
    assert "value of" not in text
    assert json.loads(made.model_dump_json())["must"] == "(secret one)"


def test_the_ledger_gives_back_secrets_that_still_reveal():
    text = spec(may=SecretName("two")).model_dump_json()
    again = Spec.model_validate_json(text, context={"secrets": Known("2")})
    assert again.must.reveal() == "value of one 2"
    assert again.may.reveal() == "value of two 2"
    bare = Spec.model_validate_json(text)
    assert bare.must == Secret("one")
    with pytest.raises(Exception, match="no secrets yet"):
        bare.must.reveal()


def test_a_section_changes_when_the_secret_does_and_holds_nothing_of_it():
    def digest(version, **fields):
        host = Host("a", "p", "x", parts={"l": (Part("", "d", spec(version, **fields)),)})
        return Digests(()).of(host, "l")

    assert digest("1") == digest("1")
    assert len({digest("1"), digest("2"), digest("1", may=SecretName("two"))}) == 3
    free = {"a": [Secret("one", Known("1"))]}
    assert digest_of(free) != digest_of({"a": [Secret("one", Known("2"))]})


def test_a_lab_without_secrets_says_how_to_begin():
    assert "lab secrets init" in NoSecrets().problem("x")


def places(error):
    return [str(p) for p in error.value.problems]


@pytest.fixture
def known(loaded):
    """Load with the two secrets of :class:`Known`."""
    return lambda files=None: loaded(files, Known())


def test_a_missing_secret_is_told_at_its_place(wrong):
    (told,) = wrong({"personas/web.yaml": "box: {}\nvars: {a: {b: [x, !secret nope]}}\n"})
    assert told.startswith("personas/web.yaml:2:19: there is no secret 'nope'")
    assert told.endswith("try: lab secrets init")


@pytest.mark.parametrize(
    ("line", "where", "word"),
    [
        ("box: {memory: !secret one}", "1:7", "memory"),
        ("box: {colour: !secret one}", "1:7", "colour"),
        ("box: {port: !secret one}", "1:7", "port"),
        ("box: {tags: [!secret one]}", "1:14", "tags"),
        ("box: {file: !secret one}", "1:7", "file"),
        ("box: {inner: {a: {b: !secret one}}}", "1:19", "b"),
        ("box: !secret one", "1:1", "box"),
        ("tags: !secret one", "1:1", "tags"),
        ("protect: !secret one", "1:1", "protect"),
    ],
)
def test_a_secret_where_none_can_be_is_told_in_plain_words(known, line, where, word):
    with pytest.raises(ConfigError) as caught:
        known({"personas/web.yaml": f"{line}\n"})
    assert places(caught) == [
        f"personas/web.yaml:{where}: {word} cannot be a secret: it is shown, and kept in clear"
    ]


def test_a_secret_needs_a_name(wrong):
    assert wrong({"personas/web.yaml": "vars: {a: !secret }\n"}) == [
        "personas/web.yaml:1:11: !secret needs a name"
    ]


def test_who_uses_what_follows_the_merged_documents(known):
    inventory = known(
        {
            "lab.yaml": "name: demo\nproviders:\n  box: {kind: toy}\n"
            "vars: {all: !secret one}\ncapture: {repository: {url: c, password: !secret two}}\n",
            "personas/web.yaml": "vars: {a: !secret one}\n",
            "personas/db.yaml": "extends: [web]\nvars: {b: {c: !secret two}}\n",
            "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
            "  db1: {persona: db, provider: box, vars: {d: 1}}\n",
        }
    )
    assert secret_uses(inventory) == {"one": ("web1", "db1"), "two": ("db1",)}
    assert inventory.hosts["db1"].vars["b"]["c"].reveal() == "value of two 1"


def test_vars_hold_secrets_at_any_depth(known):
    inventory = known({"personas/web.yaml": "vars: {a: [{b: !secret one}]}\n"})
    assert inventory.hosts["web1"].vars == {"a": [{"b": Secret("one")}]}

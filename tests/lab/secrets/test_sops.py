"""The file format by itself: damage is told, hostile files end soon, diffs stay small."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ConfigError, LabError
from lab.secrets import age, keys
from lab.secrets.identities import Keyring
from lab.secrets.sops import document, flat, sealing, yaml_read, yaml_write
from lab.secrets.sops.metadata import Rule, check_regex
from lab.secrets.sops.tree import Branch, plain, tree_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS
)
TREES = st.dictionaries(
    TEXTS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)
QUICK = settings(max_examples=300, deadline=None)


def typed(value):
    """With types, so that 1, 1.0 and True are three."""
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    return (type(value).__name__, repr(value))


@QUICK
@given(TREES, st.sampled_from([2, 4]))
def test_yaml_reads_as_it_was_written(tree, indent):
    text = yaml_write.emit(tree_of(tree), indent)
    assert typed(plain(yaml_read.parse(text, "x"))) == typed(tree)


@QUICK
@given(TREES)
def test_json_reads_as_it_was_written(tree):
    text = flat.emit_json(tree_of(tree))
    if "Infinity" not in text:
        assert typed(plain(flat.parse_json(text, "x"))) == typed(tree)


@QUICK
@given(TREES)
def test_the_metadata_of_a_dotenv_file_survives_flattening(tree):
    def fits(value):
        if isinstance(value, dict):
            keys = all("_" not in k and k and not k.isdecimal() for k in value)
            return bool(value) and keys and all(map(fits, value.values()))
        return bool(value) and all(map(fits, value)) if isinstance(value, list) else True

    if fits(tree):
        values, back = flat.lifted(flat.lowered(Branch(), tree_of(tree)))
        assert (values.entries, plain(back)) == ([], tree)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_told_to_be_wrong(text):
    for name in ("x.yaml", "x.json", "x.env"):
        with contextlib.suppress(ConfigError):
            assert isinstance(document.parse(text, Path(name), name), Branch)


TEXT = "# about a\na: one\nb:\n    c: 12\n    d: [x, y]\nclear_unencrypted: seen\n"


def test_what_was_encrypted_is_there_again_with_its_comments(sealed_text, opened):
    assert document.emit(opened(sealed_text(TEXT)).tree, Path("x.yaml"), "x") == (
        '# about a\na: one\nb:\n    c: 12\n    d:\n        - x\n        - "y"\n'
        "clear_unencrypted: seen\n"
    )  # fmt: skip


def test_only_what_changed_is_encrypted_anew(sealed_text, opened):
    before = sealed_text(TEXT)
    doc = opened(before)
    doc.tree.put("a", "two")
    after = sealing.lock(doc, doc.tree)
    changed = [
        old.split(":")[0].strip()
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if old != new
    ]
    assert set(changed) - {"lastmodified"} == {"a", "mac"}


def test_an_iv_never_serves_two_values(sealed_text, opened):
    doc = opened(sealed_text("a: one\n"))
    doc.tree.put("a", "two")
    first = sealing.lock(doc, doc.tree)
    second = sealing.lock(doc, doc.tree)
    ivs = [t.partition("iv:")[2][:44] for t in (sealed_text("a: one\n"), first, second)]
    assert len(set(ivs)) == 3


def flipped(text):
    at = text.index("data:") + 6
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def without(text, start):
    return "".join(t for t in text.splitlines(keepends=True) if not t.strip().startswith(start))


def first_value(text):
    return text[text.index("ENC[") : text.index("]") + 1]


BROKEN = "ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]"
DAMAGE = {
    "a flipped character": (flipped, "a does not open"),
    "a value in clear": (lambda t: t.replace(first_value(t), "evil"), "a stands there in clear"),
    "a value of another place": (lambda t: t.replace("a: ENC", "z: ENC"), "z does not open"),
    "a value cut": (lambda t: without(t, "a:"), "MAC does not match"),
    "a clear value changed": (lambda t: t.replace("seen", "changed"), "MAC does not match"),
    "another time": (lambda t: t.replace('lastmodified: "20', 'lastmodified: "19'), "lastmodified"),
    "no MAC": (lambda t: without(t, "mac:"), "no MAC"),
    "no form": (lambda t: t.replace(first_value(t), BROKEN), "not the form"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_the_files_name(sealed_text, opened, name):
    change, told = DAMAGE[name]
    text = "".join(x for x in sealed_text(TEXT).splitlines(keepends=True) if not x.startswith("#"))
    with pytest.raises(LabError, match=told) as caught:
        opened(change(text))
    assert "x.yaml" in caught.value.message


def test_every_cut_is_noticed(sealed_text, opened):
    text = sealed_text("a: one\nb: two\n")
    for end in range(0, text.index("unencrypted_suffix") - 5, 7):
        with pytest.raises(LabError):
            opened(text[:end])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    part=st.floats(0, 0.999),
    what=st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=3),
)
def test_a_changed_file_never_gives_other_values(sealed_text, opened, part, what):
    text = sealed_text("a: one\nb: [1, 2]\n")
    at = int(part * len(text))
    try:
        found = plain(opened(text[:at] + what + text[at + 1 :]).tree)
    except LabError:
        return
    assert found == {"a": "one", "b": [1, 2]}


def test_a_foreign_file_says_for_whom_it_is(sealed_text, opened, monkeypatch, key):
    text = sealed_text("a: one\n")
    monkeypatch.setenv("SOPS_AGE_KEY", age.new_key().private)
    with pytest.raises(
        LabError, match=f"not encrypted for any key of this machine.*{key.public[:24]}"
    ):
        opened(text)


def test_without_any_key_the_places_for_one_are_told(sealed_text, opened, monkeypatch):
    text = sealed_text("a: one\n")
    monkeypatch.delenv("SOPS_AGE_KEY")
    with pytest.raises(LabError, match="no age key on this machine") as caught:
        opened(text)
    assert "sops/age/keys.txt" in caught.value.hint


def test_each_place_for_a_key_opens_a_file(sealed_text, opened, monkeypatch, key, tmp_path):
    text = sealed_text("a: one\n")
    monkeypatch.delenv("SOPS_AGE_KEY")
    home = Path(os.environ["HOME"])
    kept = tmp_path / "keys.txt"
    kept.write_text(f"# a comment\n{key.private}\n")
    for name, value in {"SOPS_AGE_KEY_FILE": str(kept), "SOPS_AGE_KEY_CMD": f"cat {kept}"}.items():
        monkeypatch.setenv(name, value)
        assert plain(opened(text).tree) == {"a": "one"}
        monkeypatch.delenv(name)
    for place in (".config/sops/age/keys.txt", ".config/strata/test/keys.txt"):
        path = home / place
        path.parent.mkdir(parents=True)
        path.write_text(f"{key.private}\n")
        assert plain(opened(text).tree) == {"a": "one"}
        path.unlink()


def test_an_ssh_key_opens_a_file(opened, sealed_text, monkeypatch, tmp_path):
    private, public = keys.ssh("me")
    text = sealed_text("a: one\n", readers=(" ".join(public.split()[:2]),))
    monkeypatch.delenv("SOPS_AGE_KEY")
    (tmp_path / "id").write_text(private)
    monkeypatch.setenv("SOPS_AGE_SSH_PRIVATE_KEY_FILE", str(tmp_path / "id"))
    assert plain(opened(text).tree) == {"a": "one"}


def test_what_is_no_key_is_told_with_its_line(opened, sealed_text, monkeypatch):
    text = sealed_text("a: one\n")
    monkeypatch.setenv("SOPS_AGE_KEY", "# x\nhunter2\n")
    with pytest.raises(LabError, match="line 2 of SOPS_AGE_KEY") as caught:
        opened(text)
    assert "hunter2" not in str(caught.value)


RULES = {
    Rule(): {"a", "b_x", "deep.b", "deep.c_x"},
    Rule("unencrypted_suffix", "_x"): {"a", "a_unencrypted", "deep.b"},
    Rule("encrypted_suffix", "_x"): {"b_x", "deep.c_x"},
    Rule("encrypted_regex", "^(deep|a)$"): {"a", "deep.b", "deep.c_x"},
    Rule("unencrypted_regex", "^b"): {"a", "a_unencrypted", "deep.c_x"},
    Rule("encrypted_comment_regex", "sops:enc"): {"b_x"},
    Rule("unencrypted_comment_regex", "sops:dec"): {"a", "b_x", "a_unencrypted"},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.kind)
@pytest.mark.parametrize("only", [False, True])
def test_rules_decide_what_is_encrypted(sealed_text, opened, rule, only):
    text = (
        "a: 1\n# sops:enc\nb_x: two\na_unencrypted: 3\n# sops:dec\ndeep:\n    b: 4\n    c_x: five\n"
    )
    sealed = sealed_text(text, rule=rule, mac_only_encrypted=only)
    whole = yaml_read.parse(sealed, "x")
    whole.drop("sops")
    found = {".".join(p) for p, i in document.leaves(whole) if str(i.value).startswith("ENC[")}
    assert found == RULES[rule]
    assert plain(opened(sealed).tree) == plain(yaml_read.parse(text, "x"))


def test_with_mac_only_encrypted_what_is_clear_may_change(sealed_text, opened):
    text = sealed_text(TEXT, mac_only_encrypted=True).replace("seen", "changed")
    assert opened(text).tree.get("clear_unencrypted") == "changed"
    with pytest.raises(LabError, match="stands there in clear"):
        opened(text.replace("a: ENC", "a: evil #"))


def deep(n):
    return "".join("  " * i + "a:\n" for i in range(n)) + "  " * n + "b: 1\n"


HOSTILE = {
    "deep YAML": ("x.yaml", deep(1000), "deep"),
    "deep flow": ("x.yaml", "a: " + "[" * 100_000, "deep|YAML"),
    "deep JSON": ("x.json", '{"a":' * 100_000, "deep"),
    "an alias bomb": ("x.yaml", "a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchor"),
    "an alias": ("x.yaml", "a: *b\n", "alias|anchor"),
    "many values": ("x.yaml", "a:\n" + "  - 1\n" * 300_000, "more than"),
    "a large file": ("x.yaml", "a: " + "x" * 5_000_000, "more than the"),
    "a large number": ("x.json", '{"a": ' + "9" * 100_000 + "}", "digits"),
    "a large YAML number": ("x.yaml", "a: " + "9" * 100_000 + "\nsops: 1\n", "mapping"),
    "python's tag": ("x.yaml", "a: !!python/object/apply:os.system [id]\n", "unknown tag"),
    "two documents": ("x.yaml", "a: 1\n---\nb: 2\n", "one document"),
    "a key twice": ("x.yaml", "a: 1\na: 2\n", "twice"),
    "a list": ("x.yaml", "- a\n", "mapping"),
    "words": ("x.yaml", "words\n", "mapping"),
    "nothing": ("x.yaml", "", "in clear"),
    "bytes": ("x.yaml", b"\xff\xfe", "UTF-8"),
    "no dotenv": ("x.env", "A\n", "KEY=value"),
    "dotenv twice": ("x.env", "A=1\nA=2\n", "twice"),
    "sops is a list": ("x.yaml", "a: 1\nsops: [1]\n", "not a mapping"),
    "no recipients": ("x.yaml", "a: 1\nsops: {pgp: [{fp: x}]}\n", "no age key can read it.*pgp"),
    "a deep dotenv key": ("x.env", "sops_a" + "__map_b" * 5000 + "=1\n", "no age key"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_a_problem_soon(tmp_path, name):
    file, content, told = HOSTILE[name]
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.process_time()
    with pytest.raises(ConfigError, match=f"^{file}.*({told})"):
        document.read(path, file)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "word", ["(a+)+$", "(a|a)*b", "(a{2})+", r"(a)\1", "(?=a)b", "a*b*c*d", "[", "x" * 300]
)
def test_an_expression_that_may_never_end_is_refused(word):
    with pytest.raises(ConfigError, match=r"x\.yaml: its encrypted_regex"):
        check_regex(word, "x.yaml", "encrypted_regex")


@pytest.mark.parametrize(
    "word", ["^(data|stringData)$", "(?i)pass|token", r"^.*_secret$", r"\)*", "[)*+]x", "^a.b?$"]
)
def test_expressions_that_people_use_are_taken(word):
    check_regex(word, "x.yaml", "encrypted_regex")


def test_a_slow_expression_is_cut_short(sealed_text, opened):
    text = sealed_text("".join(f"{'a' * 120}{n}: 1\n" for n in range(3000)), rule=Rule())
    text = text.replace("unencrypted_suffix: _unencrypted", "encrypted_regex: a*a*x")
    started = time.process_time()
    with pytest.raises(LabError):
        opened(text)
    assert time.process_time() - started < 10


def test_a_missing_library_is_told_with_the_line_that_installs_it(monkeypatch, sealed_text, opened):
    text = sealed_text("a: 1\n")
    for module in ("pyrage", "cryptography.hazmat.primitives.ciphers.aead"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(LabError, match="not installed") as caught:
                opened(text)
            assert caught.value.hint == "pip install 'strata-lab[secrets]'"


def test_a_data_key_is_unwrapped_once(sealed_text, opened, monkeypatch, tmp_path):
    (tmp_path / "x.yaml").write_text(sealed_text("a: 1\n"))
    ring, calls = Keyring("test"), []
    real = age.unwrap
    monkeypatch.setattr(age, "unwrap", lambda *a: calls.append(1) or real(*a))
    for _ in range(3):
        sealing.unlock(document.read(tmp_path / "x.yaml", "x"), ring.unwrap)
    assert len(calls) == 1

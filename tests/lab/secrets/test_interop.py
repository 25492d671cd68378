"""What the real sops writes we read and verify; what we write it reads."""

import json
import math
import random
import string

import pytest

from lab.secrets.identities import Keyring
from lab.secrets.sops import document, sealing
from lab.secrets.sops.metadata import Rule
from lab.secrets.sops.tree import plain, tree_of

WORDS = [
    "", " ", "a", "yes", "no", "null", "~", "0", "007", "1e3", "-", "- x", "a: b", "# no", "x #y",
    "'", '"', "\\", "\\n", "%", "@at", "`tick", "{}", "[]", "ümläut", "漢字", "🔑", "a\nb", "a\n",
    "\na", "a\n\nb\n\n", "  lead", "trail  ", "tab\there", "\ttab", "\x7f", "\u2028", "1_000",
    "2024-01-01", "2024-01-01T10:00:00Z", "0x1F", ".5", "1:30", "<<", "=", "!tag", "&a", "*a",
    "ENC[", "|", ">", "a'b", 'a"b', "$x", "<b>&amp;</b>", "x" * 300, "-----BEGIN\nx\n-----END\n",
]  # fmt: skip
NUMBERS = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, -0.5, 1e21, 1e-7, 1.5e300, -0.0,
           3.0, 123456789.125, 5e-324]  # fmt: skip


def scalar(dice):
    kind = dice.random()
    if kind < 0.5:
        return dice.choice(WORDS)
    if kind < 0.75:
        return dice.choice(NUMBERS)
    if kind < 0.85:
        return dice.choice([True, False, None])
    return "".join(dice.choice(string.printable[:-3]) for _ in range(dice.randrange(30)))


def value(dice, depth=0):
    kind = dice.random()
    if depth < 4 and kind < 0.2:
        return {key(dice, n): value(dice, depth + 1) for n in range(dice.randrange(5))}
    if depth < 4 and kind < 0.35:
        return [value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return scalar(dice)


def key(dice, n):
    return dice.choice([
        f"k{n}", f"key {n}", f"yes{n}", f"ä{n}", f"k{n}_unencrypted", f"s{n}_x", f'"{n}"', f"{n}",
        f"a:{n}", f"#{n}", f"- {n}", f"{n}.5", f"k{n}: v",
    ])  # fmt: skip


def same(a, b):
    """Equal with types; SOPS has one zero in some places, and NaN is itself."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a == b


def read(tmp_path, name):
    sealed = document.read(tmp_path / name, name)
    return sealing.unlock(sealed, Keyring("test").unwrap)


def tame(value):
    """Without what upstream writes and cannot read again: a clear -0.0, a leading newline."""
    if isinstance(value, dict):
        return {k: tame(v) for k, v in value.items()}
    if isinstance(value, list):
        return [tame(v) for v in value]
    if isinstance(value, str):
        return value.lstrip("\n")
    return 0.5 if isinstance(value, float) and value == 0 else value


RULES = [
    None,
    Rule("encrypted_suffix", "_x"),
    Rule("encrypted_regex", "^(k1|s2_x|ä0)$"),
    Rule("unencrypted_regex", "(?i)^YES|key"),
]


def flags(rule, only):
    words = [f"--{rule.kind.replace('_', '-')}", rule.word] if rule else []
    return [*words, *(["--mac-only-encrypted"] if only else [])]


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("seed", range(12))
def test_what_upstream_writes_we_read(sops, tmp_path, suffix, seed):
    dice = random.Random(seed)
    content = tame({f"top{n}": value(dice) for n in range(30)})
    clear = tmp_path / f"in.{suffix}"
    clear.write_text(document.emit(tree_of(content), clear, "in"))
    rule, only = RULES[seed % 4], seed % 3 == 0
    out = sops("-e", *flags(rule, only), f"in.{suffix}").stdout
    (tmp_path / f"out.{suffix}").write_text(out)
    assert same(plain(read(tmp_path, f"out.{suffix}").tree), content)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("seed", range(12))
def test_what_we_write_upstream_reads(sops, sealed_text, tmp_path, suffix, seed):
    dice = random.Random(1000 + seed)
    content = {f"top{n}": value(dice) for n in range(30)}
    rule, only = RULES[seed % 4], seed % 3 == 0
    text = document.emit(tree_of(content), tmp_path / f"x.{suffix}", "x")
    sealed = sealed_text(text, f"x.{suffix}", rule, mac_only_encrypted=only)
    (tmp_path / f"x.{suffix}").write_text(sealed)
    out = sops("-d", "--output-type", "json", f"x.{suffix}").stdout
    assert same(json.loads(out), content)


@pytest.mark.parametrize("seed", range(8))
def test_upstream_edits_what_we_wrote_and_we_read_it_again(sops, sealed_text, tmp_path, seed):
    dice = random.Random(2000 + seed)
    content = tame({f"top{n}": value(dice) for n in range(10)}) | {"mine": "old"}
    text = document.emit(tree_of(content), tmp_path / "x.yaml", "x")
    (tmp_path / "x.yaml").write_text(sealed_text(text))
    sops("set", "x.yaml", '["mine"]', '"new"')
    assert same(plain(read(tmp_path, "x.yaml").tree), content | {"mine": "new"})
    sops("rotate", "-i", "x.yaml")
    assert same(plain(read(tmp_path, "x.yaml").tree), content | {"mine": "new"})


def test_dotenv_both_ways(sops, sealed_text, tmp_path):
    text = (
        "# head\nA=1\nB=two words\nC=\nD=a=b\nE=line\\nline\nF_unencrypted=clear\nG='q' \"x\" ü\n"
    )
    (tmp_path / "in.env").write_text(text)
    (tmp_path / "up.env").write_text(sops("-e", "in.env").stdout)
    ours = read(tmp_path, "up.env")
    assert document.emit(ours.tree, tmp_path / "x.env", "x") == text
    (tmp_path / "our.env").write_text(sealed_text(text, "our.env"))
    assert sops("-d", "our.env").stdout == text


def test_comments_survive_the_way_there_and_back(sops, sealed_text, tmp_path):
    text = (
        "# top\na: 1 # beside\nb:\n    # inside\n    c: 2\n    d: 3\n"
        "list:\n    # first\n    - x\n    # second\n    - w\n# last\nz: 9\n"
    )
    (tmp_path / "x.yaml").write_text(sealed_text(text))
    said = sops("-d", "x.yaml").stdout
    for word in ("top", "beside", "inside", "first", "second", "last"):
        assert f"# {word}" in said, said
    (tmp_path / "in.yaml").write_text(text)
    (tmp_path / "up.yaml").write_text(sops("-e", "in.yaml").stdout)
    assert document.emit(read(tmp_path, "up.yaml").tree, tmp_path / "x.yaml", "x") == text


def test_writing_again_what_upstream_wrote_changes_nothing_but_the_mac(sops, tmp_path):
    dice = random.Random(7)
    content = tame({f"top{n}": value(dice) for n in range(40)})
    clear = tmp_path / "in.yaml"
    clear.write_text(document.emit(tree_of(content), clear, "in"))
    before = sops("-e", "in.yaml").stdout
    (tmp_path / "up.yaml").write_text(before)
    opened = read(tmp_path, "up.yaml")
    after = sealing.lock(opened, opened.tree)
    changed = [
        (a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b
    ]
    assert all(a.strip().startswith(("mac:", "lastmodified:")) for a, _ in changed), changed


def test_several_readers_each_read_it(sops, sealed_text, tmp_path):
    from lab.secrets import age

    other = age.new_key()
    (tmp_path / "x.yaml").write_text(sealed_text("a: hello\n", readers=(other.public,)))
    assert sops("-d", "x.yaml", SOPS_AGE_KEY=other.private).stdout == "a: hello\n"


def test_a_file_of_two_key_groups_is_refused_in_plain_words(sops, tmp_path, key):
    from lab.errors import ConfigError
    from lab.secrets import age

    groups = "".join(f"      - age: [{k}]\n" for k in (key.public, age.new_key().public))
    (tmp_path / ".sops.yaml").write_text(f"creation_rules:\n  - key_groups:\n{groups}")
    (tmp_path / "in.yaml").write_text("a: 1\n")
    out = sops("-e", "in.yaml", SOPS_AGE_RECIPIENTS="").stdout
    (tmp_path / "x.yaml").write_text(out)
    with pytest.raises(ConfigError, match="key groups"):
        read(tmp_path, "x.yaml")


def test_upstream_refuses_what_we_refuse(sops, sealed_text, tmp_path):
    text = sealed_text("a: one\nb: two\n")
    lines = text.splitlines(keepends=True)
    (tmp_path / "swapped.yaml").write_text("".join([lines[1], lines[0], *lines[2:]]))
    assert "MAC mismatch" in sops("-d", "swapped.yaml", check=False).stderr
    with pytest.raises(Exception, match="MAC does not match"):
        read(tmp_path, "swapped.yaml")

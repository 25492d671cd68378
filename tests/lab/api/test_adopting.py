"""Writing files into a lab: all or nothing, other people's lines byte for byte."""

import hashlib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.api import yaml_text
from lab.api.adopting import Login
from lab.api.staging import placed, undo
from lab.config.tree import parse
from lab.errors import ConfigError, LabError
from lab.model.secret import SecretName

HOSTS = """# the hosts
hosts:
  # the first
  web1:  {persona: web, provider: box}   # keep   this

  db1:
      persona: db
      provider: box
  # a last word
# the end
"""


def snapshot(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "personas").mkdir()
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.yaml").write_text(HOSTS)
    return tmp_path


NEW = {"personas/a.yaml": b"x: 1\n", "personas/a/etc/deep/b.conf": b"b"}
EDITED = {"inventory/hosts.yaml": (HOSTS.encode(), HOSTS.encode() + b"# more\n")}


def test_all_files_come_and_nothing_else_stays(root):
    with placed(root, "a", NEW, EDITED):
        pass
    assert snapshot(root) == {
        **NEW,
        "inventory/hosts.yaml": EDITED["inventory/hosts.yaml"][1],
    }


def test_a_failure_afterwards_takes_all_of_it_back(root):
    before = snapshot(root)
    with pytest.raises(RuntimeError), placed(root, "a", NEW, EDITED):
        raise RuntimeError
    assert snapshot(root) == before
    assert not (root / "personas/a").exists()


def test_nothing_is_ever_overwritten(root):
    (root / "personas/a.yaml").write_text("mine\n")
    before = snapshot(root)
    with pytest.raises(ConfigError, match="exists already"), placed(root, "a", NEW, EDITED):
        raise AssertionError
    assert snapshot(root) == before


def test_a_file_that_was_edited_meanwhile_stays_as_it_is(root):
    before = snapshot(root)
    stale = {"inventory/hosts.yaml": (b"what it was\n", b"new\n")}
    with pytest.raises(LabError, match="changed meanwhile"), placed(root, "a", NEW, stale):
        raise AssertionError
    assert snapshot(root) == before


@pytest.mark.parametrize("files", range(4))
def test_what_a_killed_run_left_is_taken_back_by_the_next(root, files):
    """As after a kill: the manifest, and as many of the files as came."""
    before = snapshot(root)
    folder = root / ".adopting-a"
    everything = {**NEW, "inventory/hosts.yaml": EDITED["inventory/hosts.yaml"][1]}
    for path, content in NEW.items():
        (folder / "new" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "new" / path).write_bytes(content)
    (folder / "before/inventory").mkdir(parents=True)
    (folder / "before/inventory/hosts.yaml").write_text(HOSTS)
    digests = {p: hashlib.sha256(c).hexdigest() for p, c in everything.items()}
    manifest = {"new": {p: digests[p] for p in NEW}, "edited": {p: digests[p] for p in EDITED}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for path, content in list(everything.items())[:files]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    undo(root, "a")
    assert snapshot(root) == before
    with placed(root, "a", NEW, EDITED):
        pass
    assert len(snapshot(root)) == 3


def test_a_run_that_was_killed_before_it_began_leaves_no_trace(root):
    before = snapshot(root)
    (root / ".adopting-a/new").mkdir(parents=True)
    undo(root, "a")
    assert snapshot(root) == before


def test_what_somebody_made_of_a_new_file_since_is_kept(root):
    folder = root / ".adopting-a"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"new": {"personas/a.yaml": "0" * 64},
                                                      "edited": {}}))  # fmt: skip
    (root / "personas/a.yaml").write_text("mine\n")
    undo(root, "a")
    assert (root / "personas/a.yaml").read_text() == "mine\n"


# -- YAML ---------------------------------------------------------------------------------------


def test_an_entry_is_added_and_everything_else_stays_byte_for_byte():
    after = yaml_text.with_key(HOSTS, "h.yaml", "hosts", "nas1", "nas1: {persona: nas}")
    assert after.replace("  nas1: {persona: nas}\n", "") == HOSTS
    assert after.index("# a last word") < after.index("nas1") < after.index("# the end")
    assert set(yaml.safe_load(after)["hosts"]) == {"web1", "db1", "nas1"}


def test_a_mapping_in_the_middle_of_a_file_grows_at_its_own_end():
    text = "name: x\nproviders:\n    # this one\n    box: {kind: qemu}\nvars: {}\n"
    after = yaml_text.with_key(text, "lab.yaml", "providers", "there", "there: {kind: existing}")
    assert after == text.replace("qemu}\n", "qemu}\n    there: {kind: existing}\n")


def test_a_file_that_ends_without_a_line_s_end():
    after = yaml_text.with_key("hosts:\n  a: {x: 1}", "h.yaml", "hosts", "b", "b: {x: 2}")
    assert after == "hosts:\n  a: {x: 1}\n  b: {x: 2}\n"


@pytest.mark.parametrize(
    "text",
    ["hosts: {a: {x: 1}}\n", "hosts: {}\n", "", "hosts:\n", "other: 1\n", "hosts: [a]\n",
     "hosts:\n  b: {x: 1}\n", "hosts: {a: 1,\n  c: 2}\n"],
)  # fmt: skip
def test_where_lines_cannot_be_added_nothing_is(text):
    assert yaml_text.with_key(text, "h.yaml", "hosts", "b", "b: {x: 2}") is None


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.text(max_size=40) | st.integers() | st.booleans() | st.lists(st.text(max_size=9)),
        max_size=4,
    )
)
def test_whatever_is_written_is_read_back_by_our_own_reader(value):
    value = {k: v for k, v in value.items() if "<<" not in k}
    tree, problems = parse(yaml_text.block({"system": value}), "x.yaml")
    assert not problems
    assert tree.plain()["system"] == value


def test_words_that_yaml_would_take_for_something_else_are_quoted():
    values = ["yes", "0644", "1e3", "null", "true", "~", "12", "a: b", "- a", "ssh-ed25519 AAAA"]
    tree, problems = parse(yaml_text.block({"x": {"list": values}}), "x.yaml")
    assert not problems
    assert tree.plain() == {"x": {"list": values}}


def test_a_secret_is_written_as_its_name():
    login = Login("nas", sudo_password="of_me")
    text = yaml_text.block({"nas1": {"existing": login.section()}})
    assert "sudo_password: !secret 'of_me'" in text
    tree, _ = parse(text, "x.yaml")
    assert tree.plain()["nas1"]["existing"]["sudo_password"] == SecretName("of_me")

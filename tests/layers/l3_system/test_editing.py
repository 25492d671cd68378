"""Editing a text: made twice is made once, and what is taken out leaves no trace."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.l3_system.kinds.edit_record import Record, read, result, written
from layers.l3_system.kinds.editing import Edit, conflict, edited, merged

lines = st.sampled_from(
    [
        "a",
        "#a",
        "b",
        "b = 1",
        "",
        "  ",
        "$x `y` 'z' \"q\"",
        "ümläut ☃",
        "a\\nb",
        "\udcff",
        "c\rc",
        "é%s",
    ]
)
marks = st.sampled_from(
    ["# BEGIN strata one", "# END strata one", "# BEGIN strata other", "# END strata two"]
)
ends = st.sampled_from(["\n", "\n", "\r\n"])
texts = st.builds(
    lambda parts, last: "".join(parts) + last,
    st.lists(st.builds("{}{}".format, lines | marks, ends), max_size=8),
    st.sampled_from(["", "", "last", "a", "\r"]),
)
plain = st.builds(
    lambda parts, last: "".join(parts) + last,
    st.lists(st.builds("{}{}".format, lines, ends), max_size=8),
    st.sampled_from(["", "", "last", "a"]),
)
patterns = st.sampled_from([None, "^a", "^#?a$", "b", "^$", "strata", "x"])
places = st.sampled_from(
    [{}, {"after": "a"}, {"before": "b"}, {"after": "strata"}, {"before": "^$"}]
)
single = st.builds(
    lambda name, text, match, absent, place: Edit(
        name, text, match=match, absent=absent, **({} if absent else place)
    ),
    st.uuids().map(str),
    lines.filter(lambda v: "\r" not in v),
    patterns,
    st.booleans(),
    places,
)
block = st.builds(
    lambda name, text, place: Edit(name, text, comment="#", **place),
    st.sampled_from(["one", "two"]),
    plain,
    places,
)
edits = st.lists(single | block, max_size=4, unique_by=lambda e: e.name).filter(
    lambda es: conflict(es) is None
)


@given(texts, edits)
def test_what_is_made_twice_is_made_once(text, wanted):
    once = edited(text, wanted)
    assert edited(once, wanted) == once


@given(texts, edits)
def test_every_edit_is_made(text, wanted):
    there = [line.removesuffix("\r") for line in edited(text, wanted).split("\n")]
    for edit in wanted:
        if edit.comment:
            assert there.count(f"# BEGIN strata {edit.name}") == 1
            assert there.count(f"# END strata {edit.name}") == 1
        elif not edit.absent:
            assert edit.text in there


@given(texts, edits)
def test_taken_out_nothing_remains(text, wanted):
    after = edited(text, wanted)
    assert merged(after, after, text) == text


# lines that are the same cannot be told apart: which of them a person wrote around is a guess
distinct = st.builds(
    lambda parts, end: "".join(f"{part}{end}" for part in parts),
    st.lists(lines, max_size=8, unique=True),
    ends,
)


@given(distinct, edits, st.integers(0, 8))
def test_what_a_person_added_stays_when_the_rest_is_taken_out(text, wanted, where):
    after = edited(text, wanted)
    parts = re.findall(r"[^\n]*\n", after)
    parts.insert(min(where, len(parts)), "a person wrote this\n")
    left = merged(after, "".join(parts), text)
    assert "a person wrote this\n" in left
    kept = left.replace("a person wrote this\n", "", 1)
    assert kept == text


@given(plain, edits, edits)
def test_from_one_set_of_edits_to_another_and_back(text, first, then):
    one = edited(text, first)
    two = edited(merged(one, one, text), then)
    assert merged(two, two, text) == text


@given(st.none() | plain, st.lists(edits, max_size=4), st.data())
def test_whatever_was_declared_and_deleted_by_hand_the_file_is_as_it_was(text, history, data):
    now, record = text, None
    for wanted in history:
        made, base = result(now, record, wanted, str(wanted))
        record = Record(str(wanted), base, made or "") if wanted and made is not None else None
        assert result(made, record, wanted, str(wanted))[0] == made
        now = made
        theirs = {line.rstrip("\r\n") for line in _lines(base)}
        own = [i for i, line in enumerate(_lines(now)) if line.rstrip("\r\n") not in theirs]
        if record is not None and own and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(own))
            drifted = "".join(line for i, line in enumerate(_lines(now)) if i != gone)
            now, base = result(drifted, record, wanted, str(wanted))
            record = Record(str(wanted), base, now or "")
    assert result(now, record, [], "") == (text, text)


def _lines(text):
    return re.findall(r"[^\n]*\n|[^\n]+", text or "")


@given(st.none() | texts, texts)
def test_a_record_is_read_back_and_a_torn_one_is_none(base, made):
    kept = written(Record("mark", base, made))
    assert read(kept) == Record("mark", base, made)
    assert read(kept[:-1]) is None or not made
    assert read(b"") is read(None) is read(b"x y\nz") is read(b"x y 9\nz") is None


@given(plain, edits, plain)
def test_whatever_happened_meanwhile_it_ends(text, wanted, other):
    merged(edited(text, wanted), other, text)


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        ("#Port 22\nX\n", Edit("p", "Port 2222", match="^#?Port "), "Port 2222\nX\n"),
        ("X\nPort 1\nPort 2\n", Edit("p", "Port 3", match="^Port "), "X\nPort 3\n"),
        ("X\nPort 1\nPort 3\n", Edit("p", "Port 3", match="^Port "), "X\nPort 3\n"),
        ("a\nb", Edit("c", "c"), "a\nb\nc\n"),
        ("a\r\nb", Edit("c", "c"), "a\r\nb\r\nc\r\n"),
        ("", Edit("c", "c"), "c\n"),
        ("a\nb\na\n", Edit("c", "c", after="^a"), "a\nb\na\nc\n"),
        ("a\nb\nb\n", Edit("c", "c", before="^b"), "a\nc\nb\nb\n"),
        ("a\nb\n", Edit("c", "c", before="^z"), "a\nb\nc\n"),
        ("a\nb\na", Edit("x", "a", absent=True), "b\n"),
        ("a1\nb\na2\n", Edit("x", None, match="^a", absent=True), "b\n"),
        ("a\n", Edit("n", "x\ny", comment="#"), "a\n# BEGIN strata n\nx\ny\n# END strata n\n"),
        (
            "# BEGIN strata n\nold\n# END strata n\nz\n",
            Edit("n", "new\n", comment="#"),
            "# BEGIN strata n\nnew\n# END strata n\nz\n",
        ),
        (
            "# BEGIN strata n\na\n# END strata n\n",
            Edit("l", "a"),
            "# BEGIN strata n\na\n# END strata n\na\n",
        ),
    ],
)
def test_cases(text, edit, after):
    assert edited(text, [edit]) == after


def test_a_line_that_a_person_changed_is_kept_beside_what_was_there_before():
    base, written = "#Port 22\nX\n", "Port 2222\nX\n"
    assert merged(written, "Port 99\nX\n", base) == "#Port 22\nPort 99\nX\n"
    assert merged(written, "X\n", base) == "#Port 22\nX\n"


def test_a_line_of_ours_that_was_moved_is_taken_out_where_it_is():
    base, written = "#a\nb\nc\n", "a\nb\nc\n"
    assert merged(written, "b\nc\na\n", base) == "#a\nb\nc\n"
    assert merged(written, "a\nb\nc\na\n", base) == "#a\nb\nc\na\n"


def test_edits_that_undo_each_other_are_told():
    one, two = Edit("one", "Port 1", match="^Port"), Edit("two", "Port 2", match="^Port")
    assert conflict([one, two]) == (one, two)
    assert conflict([one, Edit("two", "Listen 2", match="^Listen")]) is None

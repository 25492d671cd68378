"""Plans survive JSON, secrets do not; sizes are read and shown exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan, plan_from_json, to_json
from lab.model.units import parse_duration, parse_size, show_size, show_size_exact

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
diffs = st.builds(FieldDiff, st.text(max_size=5), scalars, scalars, st.text(max_size=5))
changes = st.builds(
    Change,
    st.sampled_from(Action),
    st.text(max_size=9),
    st.lists(diffs, max_size=3).map(tuple),
    st.text(max_size=5),
    st.text(max_size=5),
)
plans = st.builds(
    Plan,
    st.lists(changes, max_size=3).map(tuple),
    st.lists(st.builds(Blocker, st.text(), st.text(), st.text()), max_size=2).map(tuple),
    st.booleans(),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(plans)
def test_a_plan_survives_json(plan):
    assert plan_from_json(to_json(plan)) == plan


def test_a_secret_is_never_written():
    change = Change(Action.UPDATE, "x", (FieldDiff("password", "hunter1", "hunter2", secret=True),))
    assert "hunter" not in str(to_json(Plan((change,))))


@given(st.integers(1, 2**60))
def test_an_exact_size_is_read_back(size):
    assert parse_size(show_size_exact(size)) == size


@pytest.mark.parametrize("text", ["8Gb", "8", "", "GiB", "-1GiB", "0GiB", None, True, 8, "8 GiB x"])
def test_what_is_not_a_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [("8GiB", 8 << 30, "8GiB"), ("1.5GiB", 3 << 29, "1.5GiB"), ("1GB", 10**9, "953.7MiB")],
)
def test_sizes(text, size, shown):
    assert (parse_size(text), show_size(size)) == (size, shown)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("30d", 2592000), ("daily", 86400), ("90s", 90)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds

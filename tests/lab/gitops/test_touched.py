"""Which hosts a commit touches, as a pure comparison."""

from hypothesis import given
from hypothesis import strategies as st

from lab.gitops.touched import Touched, touched

DIGESTS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["", "1", "2"]))


def test_changed_new_and_removed_hosts_are_told_apart():
    found = touched({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    assert found == Touched(changed=("b",), new=("d",), removed=("c",), same=1)
    assert found.hosts == ("b", "d")


@given(DIGESTS)
def test_what_is_the_same_touches_nothing(digests):
    assert touched(digests, digests) == Touched(same=len(digests))


@given(DIGESTS, DIGESTS)
def test_every_host_is_counted_once(before, now):
    found = touched(before, now)
    assert len(found.hosts) + found.same == len(now)
    assert set(found.hosts) | set(found.removed) <= set(before) | set(now)
    assert not set(found.hosts) & set(found.removed)


def test_a_host_that_is_owed_is_always_touched():
    assert touched({"a": ""}, {"a": "1"}).hosts == ("a",)

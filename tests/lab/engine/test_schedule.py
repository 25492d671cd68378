"""Hosts side by side, waiting only for what they name."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.engine.schedule import each
from lab.model.host import Host


def test_two_hosts_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=20)
    done = each([Host("a", "p", "x"), Host("b", "p", "x")], lambda h, f: meet.wait(), bool, 2)
    assert set(done) == {"a", "b"}


def test_what_failed_is_named_to_those_who_waited():
    hosts = [Host("a", "p", "x"), Host("b", "p", "x", after=("a",)), Host("c", "p", "x")]
    assert each(hosts, lambda h, f: f, lambda r: False, 4) == {"a": (), "b": ("a",), "c": ()}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_host_starts_before_those_it_waits_for(data):
    count = data.draw(st.integers(1, 12))
    hosts = [
        Host(
            f"h{i}",
            "p",
            "x",
            after=tuple(f"h{j}" for j in range(i) if data.draw(st.booleans())),
        )
        for i in range(count)
    ]
    order = data.draw(st.permutations(hosts))
    ended: list[str] = []

    def work(host, failed):
        assert set(host.after) <= set(ended)
        ended.append(host.name)

    each(order, work, lambda r: True, data.draw(st.integers(1, 4)))
    assert sorted(ended) == sorted(h.name for h in hosts)

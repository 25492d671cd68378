"""Surveys: every host is asked once a layer, what is accepted does not count, scores are kept."""

import pytest

from lab.engine.survey import accepted
from lab.errors import TransportError
from lab.model.accepted import Acceptance
from lab.model.host import Host
from lab.model.outcome import ExitCode
from lab.model.undeclared import Sort, Undeclared, ordered, score

A, B = Undeclared(Sort.PACKAGE, "htop"), Undeclared(Sort.DIRECTORY, "/srv", size=9)


def entry(**more):
    values = {"kind": Sort.PACKAGE, "name": "ht*", "reason": "why not", "where": "a:1:1", **more}
    return Acceptance.model_validate(values)


def hosts(*names):
    return [Host(n, "web", "box") for n in names]


def test_weights_add_up_to_the_score():
    assert score([A, B]) == 1 + 5
    assert score([]) == 0
    assert {s.weight for s in Sort} == {1, 2, 3, 5}


def test_the_heaviest_stand_first_the_largest_of_them_before_the_others():
    big = Undeclared(Sort.DIRECTORY, "/z", size=99)
    assert ordered([A, B, big, A]) == (big, B, A)


def test_what_is_accepted_has_its_reason_and_weighs_nothing():
    found, unused = accepted(hosts("a"), {"a": (A, B)}, [entry()])
    assert [t.accepted for t in found["a"]] == ["", "why not"]
    assert score(found["a"]) == 5
    assert unused == ()


def test_an_entry_that_matches_nothing_is_told_once_all_its_hosts_were_looked_at():
    gone = entry(name="gone")
    both = hosts("a", "b")
    assert accepted(both, {"a": (A,), "b": ()}, [gone])[1] == (gone,)
    assert accepted(both, {"a": (A,)}, [gone])[1] == ()  # b may still have it
    mine = entry(name="gone", host="a")
    assert accepted(both, {"a": (A,)}, [mine])[1] == (mine,)
    assert accepted(hosts("b"), {"b": ()}, [mine])[1] == ()  # it is about a host not asked for
    assert accepted(both, {"a": (A,), "b": ()}, [entry()])[1] == ()


class Surveyor:
    """A driver of the upper layer that can tell."""

    replace_on = frozenset()

    def __init__(self, found, raises):
        self.found, self.raises, self.asked = found, raises, []

    def observe(self, target):
        raise AssertionError("whoever can tell need not be observed")

    def apply(self, target, change):
        raise AssertionError("a survey changes nothing")

    def survey(self, target, known):
        self.asked.append((target.host.name, target.name, target.inputs.ground))
        if target.host.name in self.raises:
            raise self.raises[target.host.name]
        return self.found.get(target.host.name, ())


@pytest.fixture
def surveyed(make_engine, make_host, layers):
    def make(found, raises=None):
        surveyor = Surveyor(found, raises or {})
        layers[-1].drivers["toy"] = lambda workspace: surveyor
        engine = make_engine(*(make_host(name, top=(("x", 1), ("y", 2))) for name in "ab"))
        return engine, surveyor

    return make


def test_each_host_is_asked_once_and_its_score_is_kept(surveyed):
    engine, surveyor = surveyed({"a": (A, B), "b": ()})
    report = engine.survey(list(engine.inventory.hosts.values()))
    assert sorted(surveyor.asked) == [("a", "x", 1), ("b", "x", 1)]  # once, not once a part
    assert report.scores == {"a": 6, "b": 0}
    assert report.exit_code is ExitCode.PENDING
    kept = engine.journal.scores()
    assert {h: (s.score, s.things) for h, s in kept.items()} == {"a": (6, 2), "b": (0, 0)}
    assert engine.journal.runs(5) == []  # looking is no run


def test_a_host_that_is_off_keeps_its_last_score_and_hides_nothing_of_the_others(surveyed):
    engine, _ = surveyed({"a": (A,), "b": ()}, raises={"a": TransportError("off")})
    report = engine.survey(list(engine.inventory.hosts.values()))
    assert report.exit_code is ExitCode.UNREACHABLE
    assert set(report.found) == {"b"}
    assert set(engine.journal.scores()) == {"b"}

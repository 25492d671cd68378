"""What may go, whatever the clock said when it was made; and what is too old."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model.declared import Lifecycle
from lab.model.keep import Keep
from lab.model.recovered import CaptureRecord
from lab.recovery.capturing import judged
from lab.recovery.freshness import freshness
from lab.recovery.manifest import Manifest
from lab.recovery.repository import Capture
from lab.recovery.retention import disposable

DAY = 86400.0
START = 1.8e9


def capture(number, at, *, flagged=False):
    return Capture("h", "d", f"i{number}", at, number, f"s{number}", (), 1, 1, "r", flagged)


JUMPS = st.sampled_from([0.0, 3600.0, -3600.0, 10 * 365 * DAY, -10 * 365 * DAY, -80 * 365 * DAY])


@settings(max_examples=300)
@given(st.lists(st.tuples(JUMPS, st.booleans()), min_size=1, max_size=40))
def test_the_newest_good_one_stays_through_every_jump_of_the_clock(made):
    kept = []
    for number, (jump, flagged) in enumerate(made):
        kept.append(capture(number, START + number * DAY + jump, flagged=flagged))
        gone = disposable(kept, Keep(last=1, daily=2, weekly=0, monthly=0))
        kept = [c for c in kept if c not in gone]
        good = [n for n, (_, bad) in enumerate(made[: number + 1]) if not bad]
        if good:
            assert max(c.number for c in kept if not c.flagged) == good[-1]


def test_each_period_keeps_the_newest_of_so_many():
    every = [capture(n, START + n * DAY / 2) for n in range(200)]
    keep = Keep(last=2, daily=3, weekly=2, monthly=2)
    kept = {c.number for c in every} - {c.number for c in disposable(every, keep)}
    assert {199, 198} <= kept
    assert len(kept) <= 2 + 3 + 2 + 2
    assert disposable([c for c in every if c.number in kept], keep) == []


def test_too_little_is_judged_against_the_last_good_one():
    last = replace(capture(1, START), files=100, size=1000)
    manifest = Manifest("l", "h", "p", "d", "1", START, files=100, size=1000)
    assert judged(manifest, last) == ""
    assert judged(replace(manifest, size=100, files=10), last) == ""
    assert "it holds 99B" in judged(replace(manifest, size=99), last)
    assert "it holds 9 files" in judged(replace(manifest, files=9), last)
    assert "it is empty" in judged(replace(manifest, size=0, files=0), last)
    assert "none before it" in judged(replace(manifest, size=0), None)
    assert judged(replace(manifest, size=0, files=0), replace(last, size=0, files=0)) == ""


def test_freshness_goes_by_the_newest_good_one():
    daily = Lifecycle.model_validate({"capture": "daily"})
    good = CaptureRecord("h", "d", START, "s", 1, 1, "r")
    bad = replace(good, at=START + 10, flagged="it is empty")

    def stale(records, lifecycle=daily, after=DAY):
        (one,) = freshness("h", ["d"], lifecycle, records, START + after)
        return one.stale

    assert stale([good]) == ""
    assert stale([good], after=3 * DAY) == "too old"
    assert stale([]) == "no good capture"
    assert stale([], Lifecycle()) == ""
    assert stale([bad, good]) == "the newest is flagged: it is empty"
    short = Lifecycle.model_validate({"capture": "daily", "rpo": "25h"})
    assert stale([good], short, after=27 * 3600) == "too old"
    tight = Lifecycle.model_validate({"capture": "daily", "rpo": "12h"})
    assert stale([good], tight, after=14 * 3600) == "too old"

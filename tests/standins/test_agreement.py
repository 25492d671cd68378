"""The Proxmox stand-in says what the real API was recorded to say. It may only agree more."""

import pytest

from tests.standins.proxmox import agreement
from tests.standins.proxmox.agreement import recordings, verdicts

pytestmark = pytest.mark.skipif(
    not agreement.DATA.is_dir(), reason=f"the recordings are not here: {agreement.DATA}"
)


def shown(score):
    return "\n".join(str(one) for one in score.misses)


def test_every_verdict_of_the_real_validator_is_ours():
    score = verdicts.score()
    assert score.asked["verdict"] == 3013
    assert not score.misses, shown(score)


def test_every_recorded_exchange_is_answered_the_same():
    score = recordings.score()
    assert score.asked == dict.fromkeys(("status", "reason", "headers", "shape", "values"), 212)
    assert not score.misses, shown(score)


def test_the_comparison_finds_what_differs():
    real = {"data": [{"vmid": 101, "name": "a", "tags": "x"}]}
    assert list(agreement.compare.shape(real, {"data": [{"vmid": 101, "name": "a"}]}))
    assert list(agreement.compare.shape(real, {"data": []}))
    assert list(agreement.compare.values(real, {"data": [{"vmid": 102, "name": "a"}]}))
    same = {"data": [{"vmid": 101, "name": "b", "tags": "x"}]}
    assert [path for path, *_ in agreement.compare.values(real, same)] == [".data[0].name"]

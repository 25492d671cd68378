"""The text file for Prometheus, read back by Prometheus' own client."""

import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.api import HostStatus, LayerStatus, Standing
from lab.api.durability import CaptureStatus, DrillStatus
from lab.api.metrics import metrics_text

AT = 1_700_000_000.5
GOOD = LayerStatus("l2_instantiate", Standing.CONVERGED, AT, "changed", good_at=AT, changes=0)
FULL = HostStatus(
    "web1",
    "web",
    "box",
    (GOOD, replace(GOOD, layer="l3_system", good_at=AT - 60)),
    entropy=31,
    surveyed=AT,
    captures=(
        CaptureStatus("pg", good=AT, verified=AT, due=AT + 1, size=5 << 40, files=7),
        CaptureStatus("shop", flagged="empty", overdue=True),
    ),
    drill=DrillStatus(AT, proved=True, proved_at=AT, rto=400.0, rpo=60.0, missing=2, due=AT + 9),
    rto=900,
    rpo=3600,
)


def read(text):
    families = list(text_string_to_metric_families(text))
    return {
        (s.name, *sorted(v for k, v in s.labels.items() if k != "lab")): s.value
        for f in families
        for s in f.samples
    }


def test_every_figure_is_read_back_as_it_was():
    found = read(metrics_text("demo", "0.1.0", [FULL]))
    assert found["strata_lab_info", "0.1.0"] == 1
    assert found["strata_host_last_success_timestamp_seconds", "web1"] == AT - 60
    assert found["strata_host_pending_changes", "web1"] == 0
    assert found["strata_host_behind", "web1"] == 0
    assert found["strata_host_standing", "converged", "web1"] == 1
    assert found["strata_layer_outcome", "changed", "l3_system", "web1"] == 1
    assert found["strata_host_entropy_score", "web1"] == 31
    assert found["strata_capture_last_good_timestamp_seconds", "pg", "web1"] == AT
    assert found["strata_capture_size_bytes", "pg", "web1"] == 5 << 40
    assert found["strata_capture_flagged", "shop", "web1"] == 1
    assert found["strata_capture_overdue", "shop", "web1"] == 1
    assert ("strata_capture_last_good_timestamp_seconds", "shop", "web1") not in found
    assert found["strata_drill_proved", "web1"] == 1
    assert found["strata_drill_rto_seconds", "web1"] == 400
    assert found["strata_drill_missing", "web1"] == 2
    assert found["strata_host_rto_goal_seconds", "web1"] == 900


@pytest.mark.parametrize("word", ['a"b', "a\\b", "a\nb", "a}b,c=", "ä…日本", "\\n"])
def test_labels_survive_whatever_is_in_them(word):
    host = replace(FULL, captures=(CaptureStatus(word, good=1.0),), persona=word)
    found = read(metrics_text(word, "1", [host]))
    assert found["strata_capture_last_good_timestamp_seconds", *sorted((word, "web1"))] == 1


def test_names_keep_to_the_conventions_and_every_family_says_what_it_is():
    text = metrics_text("demo", "0.1.0", [FULL])
    families = list(text_string_to_metric_families(text))
    assert len({f.name for f in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"strata_(lab|host|layer|capture|drill)_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type == "gauge"
        assert "age" not in family.name.split("_")
    stamps = [f.name for f in families if "timestamp" in f.name]
    assert stamps
    assert all(name.endswith("_timestamp_seconds") for name in stamps)
    assert not re.search(r" \d+$ \d+", text, re.MULTILINE), "the collector refuses timestamps"


def test_what_is_not_known_has_no_sample():
    fresh = HostStatus("new1", "web", "box", (LayerStatus("l2", Standing.DECLARED),))
    gone = HostStatus("gone1", "web", "box", (), declared=False)
    found = read(metrics_text("demo", "1", [fresh, gone]))
    assert found["strata_host_behind", "new1"] == 1
    assert found["strata_host_undeclared", "gone1"] == 1
    names = {key[0] for key in found if "new1" in key}
    assert "strata_host_last_success_timestamp_seconds" not in names
    assert "strata_host_pending_changes" not in names
    assert not any(key[0] == "strata_host_behind" for key in found if "gone1" in key)


def test_the_rules_of_the_documentation_name_metrics_that_exist(repository):
    text = (repository / "docs/operate.md").read_text()
    used = set(re.findall(r"\bstrata_(?:lab|host|layer|capture|drill)_[a-z_]+", text))
    known = {key[0] for key in read(metrics_text("demo", "1", [FULL]))}
    assert len(used) >= 5
    assert used <= known

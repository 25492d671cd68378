from __future__ import annotations

from pathlib import PurePath

from layers.l2_instantiate.autostart import unit_name, unit_text


def test_the_unit_converges_the_machines_and_asks_nothing() -> None:
    text = unit_text("demo", PurePath("/opt/lab"), PurePath("/srv/my $5 lab 100%"))
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert command == (
        'ExecStart="/opt/lab" "-C" "/srv/my $$5 lab 100%%" "converge" "l2" "--through" '
        '"--yes" "--no-input"'
    )
    assert "KillMode=process" in text, "machines outlive the unit's own run"
    assert unit_name("demo") == "strata-demo.service"

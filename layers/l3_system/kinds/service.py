"""Units of systemd: running or stopped, at boot too, restarted when a file of theirs changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing, unit_name

NAME = "service"
_PROPERTIES = "Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload"
_RUNNING = {"active", "reloading", "refreshing"}
_STOPPED = {"inactive", "deactivating"}
# A unit that is not simply on or off at boot (static, generated, an alias) is neither.
_ENABLED = {"enabled": True, "enabled-runtime": True, "disabled": False, "masked": False}


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared units, by their whole names."""
    out = {}
    for name, service in spec.services.items():
        running = service.state == "running"
        enabled = running if service.enabled is None else service.enabled
        fields = {"state": service.state, "enabled": enabled}
        out[unit_name(name)] = Wanted(fields, watched=service.restart_on if running else ())
    return out


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One systemctl for all. Its times as numbers where it can (since 247)."""
    show = f"systemctl show -p {_PROPERTIES},ActiveEnterTimestamp"
    return (
        f"{operands(NAME, wanted)}\nmark {NAME}\n"
        f'[ $# = 0 ] || {show} --timestamp=unix -- "$@" 2>/dev/null || '
        f'{show} -- "$@" 2>/dev/null'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Units that exist, under each of their names."""
    found: dict[str, Thing] = {}
    for section in sections:
        for block in section.body.decode(errors="replace").split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if unit.get("LoadState", "not-found") == "not-found":
                continue
            thing = _thing(unit)
            for name in {unit.get("Id", ""), *unit.get("Names", "").split()}:
                found[name] = thing
    return found


def _thing(unit: Mapping[str, str]) -> Thing:
    active, sub = unit.get("ActiveState", ""), unit.get("SubState", "")
    state = "running" if active in _RUNNING else "stopped" if active in _STOPPED else active
    if sub == "auto-restart":
        state = "crashing"
    started = unit.get("ActiveEnterTimestamp", "").removeprefix("@")
    facts = {
        "stale": unit.get("NeedDaemonReload") == "yes",
        "started": int(started) if started.isdigit() else None,
    }
    enabled = _ENABLED.get(unit.get("UnitFileState", ""))
    return Thing(fields={"state": state, "enabled": enabled}, facts=facts)


def compare(name: str, view: View) -> Change | Blocker | None:
    """Start or stop it, at boot too; restart it where a file is newer than its start."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    what = f"{NAME} {name}"
    if found is None:
        if wanted.fields["state"] == "stopped":
            return None
        return Change(
            Action.CREATE, what, tuple(FieldDiff(f, None, v) for f, v in wanted.fields.items())
        )
    before = dict(found.fields)
    if before["state"] == "failed" and wanted.fields["state"] == "stopped":
        before["state"] = "stopped"
    if before["enabled"] is None:
        before["enabled"] = wanted.fields["enabled"]
    diffs = [FieldDiff(f, before[f], v) for f, v in wanted.fields.items() if before[f] != v]
    restart = _restart(wanted, found, view) if wanted.fields["state"] == "running" else ""
    interrupts = ""
    if restart and before["state"] == "running":
        diffs.append(FieldDiff("restart", None, True))
        interrupts = f"{name} restarts"
    elif before["state"] == "running" and wanted.fields["state"] == "stopped":
        interrupts = f"{name} stops"
    if not diffs:
        return None
    reason = restart if interrupts else ""
    return Change(Action.UPDATE, what, tuple(diffs), reason=reason, interrupts=interrupts)


def _restart(wanted: Wanted, found: Thing, view: View) -> str:
    """Why it must restart, or ``""``. Its files tell by their own times: nothing can be missed."""
    if found.facts.get("stale"):
        return "its unit file changed"
    started = found.facts.get("started")
    for path in wanted.watched:
        file = view.found("file", path)
        changed = file.facts.get("changed") if file else None
        newer = isinstance(changed, int) and isinstance(started, int) and changed > started
        if f"file {path}" in view.changing or newer:
            return f"{path} changed"
    return ""


def prune(name: str, view: View) -> Change:
    """Stop what we started, and take it out of the boot."""
    return pruned(NAME, name, view, "stopped, as it was before")


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a unit."""
    return [Step((c,), _script(c, wanted.get(name_of(c))), deadline=300.0) for c in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    unit, thing = quote(name_of(change)), quote(change.what)
    if change.action is Action.DELETE or wanted is None:
        return f"systemctl -q disable --now {unit} 2>/dev/null || :\ndisown {thing}"
    diffs = {d.field: d for d in change.fields}
    started = wanted.fields["state"] == "running" and "state" in diffs
    lines = [f"own {thing} made"] if started else []
    # new unit files are read only now; systemd knows whether any is stale
    lines.append(
        f"case $(systemctl show -p NeedDaemonReload,LoadState -- {unit}) in "
        "*NeedDaemonReload=yes*|*not-found*) systemctl daemon-reload ;; esac"
    )
    if "enabled" in diffs:
        lines.append(f"systemctl -q {'enable' if wanted.fields['enabled'] else 'disable'} {unit}")
    if wanted.watched:
        # a clock that went back would leave them newer than any start
        lines.append(f"touch -c -- {quote(*wanted.watched)}")
    brought = change.action is Action.CREATE and wanted.watched
    if "restart" in diffs or (started and brought):  # its package may have started it already
        lines.append("verb=restart")
    elif "state" in diffs:
        lines.append(f"verb={'start' if wanted.fields['state'] == 'running' else 'stop'}")
    else:
        return "\n".join(lines)
    lines.append(
        f"systemctl reset-failed {unit} 2>/dev/null || :\n"
        f"systemctl $verb {unit} || {{ systemctl status -n 5 --no-pager -l {unit} | tail -n 5; "
        f'echo "{name_of(change)} does not $verb"; exit 1; }}'
    )
    return "\n".join(lines)

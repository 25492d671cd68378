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
    is_found,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.kinds.unit import file_kinds, reads, unit_of
from layers.l3_system.spec import Spec, Thing, unit_name

NAME = "service"
_PROPERTIES = "Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload"
_RUNNING = {"active", "reloading", "refreshing"}
_STOPPED = {"inactive", "deactivating"}
# A unit that is not simply on or off at boot (static, generated, an alias) is neither.
_ENABLED = {"enabled": True, "enabled-runtime": True, "disabled": False, "masked": False}
_MASKED = {"masked", "masked-runtime"}
# A stamp has the time just before our last start, restart or reload of a unit: a file that
# changes while the unit reads it is newer, and so is one whose change was not followed by any.
_STAMPS = "$lib/acted"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared units, by their whole names; and those of which only a unit file is declared."""
    paths = list(file_kinds(spec))
    out = {}
    for name, service in spec.services.items():
        unit, running = unit_name(name), service.state == "running"
        enabled = running if service.enabled is None else service.enabled
        masked = {"masked": True} if service.masked else {}
        fields = {"state": service.state, "enabled": enabled, **masked}
        watched = dict.fromkeys((*service.restart_on, *(p for p in paths if reads(unit, p))))
        reloaded = tuple(p for p in service.reload_on if p not in watched)
        out[unit] = (
            Wanted(fields, watched=tuple(watched), reloaded=reloaded) if running else Wanted(fields)
        )
    for named in map(unit_of, paths):
        if named is not None and named not in out and "@." not in named:
            out[named] = Wanted({})
    return out


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One systemctl for all. Its times as numbers where it can (since 247)."""
    show = f"systemctl show -p {_PROPERTIES},ActiveEnterTimestamp"
    stamps = [
        f"s={_STAMPS}/{quote(unit)}; [ ! -e $s ] || {{ mark {NAME} acted {quote(unit)}\n"
        f"  for f in {quote(*w.watched, *w.reloaded)}; do "
        '[ ! "$f" -nt "$s" ] || printf "%s\\n" "$f"; done; }'
        for unit, w in wanted.items()
        if w.watched or w.reloaded
    ]
    shown = f'{show} --timestamp=unix -- "$@" 2>/dev/null || {show} -- "$@" 2>/dev/null'
    return "\n".join([operands(NAME, wanted), *stamps, f"mark {NAME}\n[ $# = 0 ] || {shown}"])


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Units that exist, under each of their names; ``newer``: files newer than our last act."""
    found: dict[str, Thing] = {}
    newer = {s.words[1]: s.lines for s in sections if s.words[:1] == ("acted",)}
    for section in sections:
        for block in section.body.decode(errors="replace").split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if unit.get("LoadState", "not-found") == "not-found":
                continue
            thing = _thing(unit)
            for name in {unit.get("Id", ""), *unit.get("Names", "").split()}:
                facts = {"newer": newer[name]} if name in newer else {}
                found[name] = Thing(fields=thing.fields, facts={**thing.facts, **facts})
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
    file = unit.get("UnitFileState", "")
    masked = {"masked": True} if file in _MASKED else {}
    return Thing(fields={"state": state, "enabled": _ENABLED.get(file), **masked}, facts=facts)


def compare(name: str, view: View) -> Change | Blocker | None:
    """Start or stop it, at boot too; restart or reload it where a file is newer than that."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    what, fields = f"{NAME} {name}", wanted.fields
    if not fields:
        if found is None or not found.facts.get("stale"):
            return None
        return Change(Action.UPDATE, what, (FieldDiff("unit file", "changed", "loaded"),))
    if found is None:
        if fields["state"] == "stopped" and not fields.get("masked"):
            return None
        return Change(Action.CREATE, what, tuple(FieldDiff(f, None, v) for f, v in fields.items()))
    before = {"masked": False, **found.fields}
    if before["state"] == "failed" and fields["state"] == "stopped":
        before["state"] = "stopped"
    if before["enabled"] is None:
        before["enabled"] = fields["enabled"]
    diffs = [
        FieldDiff(f, before[f], v)
        for f, v in {**fields, "masked": fields.get("masked", False)}.items()
        if before[f] != v
    ]
    verb, reason = "", ""
    if before["state"] == fields["state"] == "running":
        verb, reason = _stale(name, wanted, found, view)
        diffs += [FieldDiff(verb, None, True)] if verb else []
    elif before["state"] == "running":
        verb = "stop"
    if not diffs:
        return None
    interrupts = {"restart": f"{name} restarts", "stop": f"{name} stops"}.get(verb, "")
    return Change(Action.UPDATE, what, tuple(diffs), reason=reason, interrupts=interrupts)


def _stale(name: str, wanted: Wanted, found: Thing, view: View) -> tuple[str, str]:
    """``restart`` or ``reload`` and why. Files tell by their own times: nothing can be missed."""
    if found.facts.get("stale"):
        return "restart", "its unit file changed"
    for thing in view.observed.owned:
        kind, _, path = thing.partition(" ")
        if reads(name, path) and path not in view.wanted.get(kind, {path: None}):
            return "restart", f"{path} goes"
    for verb, paths in (("restart", wanted.watched), ("reload", wanted.reloaded)):
        for path in paths:
            if _changed(path, found, view):
                return verb, f"{path} changed"
    return "", ""


def _changed(path: str, found: Thing, view: View) -> bool:
    """Whether it changed since the unit was started, or since we acted on it.

    Seconds are compared with the start; within one second our own stamp decides.
    """
    kinds = ("file", "link", "edit")
    if any(f"{kind} {path}" in view.changing for kind in kinds):
        return True
    things = (view.found(kind, path) for kind in kinds)
    times = [thing.facts.get("changed") for thing in things if thing is not None]
    started, newer = found.facts.get("started"), found.facts.get("newer")
    return any(
        isinstance(changed, int)
        and isinstance(started, int)
        and (changed > started if newer is None else changed >= started and path in newer)
        for changed in times
    )


def prune(name: str, view: View) -> Change:
    """What we started stops; what we stopped or masked becomes what it was."""
    found = view.found(NAME, name)
    if found is None or not is_found(NAME, name, view):
        return pruned(NAME, name, view, "stopped, as it was before")
    _, active, file, *_ = (*view.observed.owned[f"{NAME} {name}"].split(), "", "")
    was = {
        "state": "running" if active in _RUNNING else "stopped",
        "enabled": _ENABLED.get(file),
        "masked": file in _MASKED,
    }
    now = {"masked": False, **found.fields}
    diffs = tuple(FieldDiff(f, now[f], v) for f, v in was.items() if v is not None and now[f] != v)
    reason = "no longer declared; it becomes what it was before"
    return Change(Action.UPDATE, f"{NAME} {name}", diffs, reason=reason)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a unit."""
    return [Step((c,), _script(c, wanted.get(name_of(c))), deadline=300.0) for c in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    name, thing = name_of(change), quote(change.what)
    unit = quote(name)
    diffs = {d.field: d.after for d in change.fields}
    if wanted is None and change.action is Action.UPDATE:
        stamp = f"rm -f {_STAMPS}/{unit}\ndisown {thing}"
        return "\n".join([*_switched(unit, diffs), *_acted(name, _verb(diffs)), stamp])
    if wanted is None or change.action is Action.DELETE:
        stop = f"systemctl -q disable --now {unit} 2>/dev/null || :"
        return f"{stop}\nrm -f {_STAMPS}/{unit}\ndisown {thing}"
    verb, files = _verb(diffs), (*wanted.watched, *wanted.reloaded)
    # new unit files are read only now; systemd knows whether any is stale
    properties = "ActiveState,UnitFileState,NeedDaemonReload,LoadState"
    lines = [
        f"set -- $(systemctl show -p {properties} -- {unit})",
        'case " $* " in *NeedDaemonReload=yes*|*not-found*) systemctl daemon-reload ;; esac',
    ]
    if verb == "start":
        lines.append(f"own {thing} made")
    elif verb not in {"restart", "reload", ""} or {"enabled", "masked"} & set(diffs):
        lines.append(
            'a=; u=; for w in "$@"; do case $w in ActiveState=*) a=${w#*=} ;; '
            f'UnitFileState=*) u=${{w#*=}} ;; esac; done\nown {thing} "found $a $u"'
        )
    lines += _switched(unit, diffs)
    if files and verb == "start" and change.action is Action.CREATE:
        verb = "restart"  # its package may have started it already
    if files and verb not in {"stop", ""}:
        lines += [_stamp(unit, files), *_acted(name, verb), 'mv -f "$s.new" "$s"']
    else:
        lines += _acted(name, verb)
    return "\n".join(lines)


def _verb(diffs: Mapping[str, object]) -> str:
    if diffs.get("masked"):
        return ""  # masking stops it
    if "state" in diffs:
        return "start" if diffs["state"] == "running" else "stop"
    return next((verb for verb in ("restart", "reload") if verb in diffs), "")


def _switched(unit: str, diffs: Mapping[str, object]) -> list[str]:
    """Shell that masks and enables it, or not."""
    lines = []
    if "masked" in diffs:
        lines.append(f"systemctl -q {'mask --now' if diffs['masked'] else 'unmask'} {unit}")
    if "enabled" in diffs and not diffs.get("masked"):
        lines.append(f"systemctl -q {'enable' if diffs['enabled'] else 'disable'} {unit}")
    return lines


def _stamp(unit: str, files: Sequence[str]) -> str:
    """A new stamp, ``$s.new``; a clock that went back would leave files newer than any."""
    return (
        f'mkdir -p {_STAMPS}; s={_STAMPS}/{unit}; touch "$s.new"\n'
        f'for f in {quote(*files)}; do [ ! "$f" -nt "$s.new" ] || touch -c -- "$f"; done\n'
        'touch "$s.new"'
    )


def _acted(name: str, verb: str) -> list[str]:
    if not verb:
        return []
    unit = quote(name)
    reset = "" if verb == "reload" else f"systemctl reset-failed {unit} 2>/dev/null || :\n"
    told = f"systemctl status -n 5 --no-pager -l {unit} | tail -n 5"
    failed = f'{{ {told}; echo "{name} does not {verb}"; exit 1; }}'
    return [f"{reset}systemctl {verb} {unit} || {failed}"]

"""A machine as a persona would declare it: what was chosen by hand, and the files that differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lab.abilities import Described
from lab.model.undeclared import Sort
from layers.l3_system.kinds.kind import Section, quote
from layers.l3_system.kinds.script import probing, sections
from layers.l3_system.spec.files import Link
from layers.l3_system.spec.types import Account, Path, UnitName
from layers.l3_system.survey.crowds import parted
from layers.l3_system.survey.declared import Lab
from layers.l3_system.survey.facts import Account as Person
from layers.l3_system.survey.facts import Facts
from layers.l3_system.survey.judging import changed, loose, undeclared
from layers.l3_system.survey.suspicion import looks_secret

MOST = 256 * 1024
"""Bytes; a larger file is no configuration."""

_USER_NAME = TypeAdapter(Account)
_PATH = TypeAdapter(Path)
_UNIT = TypeAdapter(UnitName)
_LINK = TypeAdapter(Link)
_FIRST_USER = 1000
_FETCH = """for f in NAMES; do
  s=$(stat -c "%a$tab%U$tab%G$tab%s" -- "$f") || continue
  mark kept "$s" "$f"; head -c MOST -- "$f"
done"""
_PLAIN = {"mode": "0644", "owner": "root", "group": "root"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as it is on the machine."""

    mode: str
    owner: str
    group: str
    size: int
    content: bytes


@dataclass(slots=True)
class _Draft:
    system: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)

    def leave(self, what: str, why: str) -> None:
        self.left.append((what, why))


def paths(facts: Facts, lab: Lab) -> list[str]:
    """The files whose content is wanted; links and large ones are not."""
    there = [path for path, how in changed(facts, lab) if how == "changed"]
    files = dict(loose(facts, lab))
    single, _ = parted(files)
    there += [p for p in single if files[p].kind == "f" and files[p].size <= MOST]
    return sorted(set(there) - set(facts.setuid))


def fetching(nonce: str, names: Iterable[str]) -> str:
    """Shell that shows these files, and how they stand."""
    return probing(nonce, [_FETCH.replace("MOST", str(MOST + 1)).replace("NAMES", quote(*names))])


def fetched(nonce: str, answer: bytes) -> dict[str, Kept]:
    """The files that were shown."""
    return dict(_kept(s) for name, s in sections(nonce, answer) if name == "kept")


def _kept(section: Section) -> tuple[str, Kept]:
    mode, owner, group, size, path = section.words
    return path, Kept(mode.rjust(4, "0"), owner, group, int(size), section.body)


def described(facts: Facts, kept: Mapping[str, Kept], lab: Lab, name: str) -> Described:
    """The section ``system`` for the host that is to be called ``name`` in the lab."""
    draft = _Draft()
    if facts.hostname != name:
        draft.system["hostname"] = facts.hostname
    things = undeclared(facts, lab)
    _settings(facts, {t.name for t in things if t.sort is Sort.SETTING}, draft)
    packages = [t.name for t in things if t.sort is Sort.PACKAGE]
    if packages:
        draft.system["packages"] = packages
    _groups(facts, [t.name for t in things if t.sort is Sort.GROUP], draft)
    _users(facts, {t.name for t in things if t.sort is Sort.USER}, lab, draft)
    _files(facts, kept, lab, draft)
    _services(facts, lab, draft)
    _mounts(facts, [t.name for t in things if t.sort is Sort.MOUNT], draft)
    for thing in things:
        if thing.sort in {Sort.DIRECTORY, Sort.SETUID, Sort.MODULE}:
            _leave_out(thing.sort, thing.name, draft)
    sections_ = {"system": draft.system} if draft.system else {}
    return Described(sections_, draft.files, tuple(dict.fromkeys(draft.left)))


def _settings(facts: Facts, names: set[str], draft: _Draft) -> None:
    """Time zone and locale, where declaring them would change nothing."""
    said = {
        "timezone": (facts.zone, facts.zone_is_plain),
        "locale": (facts.locale, facts.locale_is_plain),
    }
    for name in sorted(names):
        value, plain = said[name]
        if plain:
            draft.system[name] = value
        else:
            draft.leave(
                name, f"it is {value}; to declare it writes its files anew ({name}: {value})"
            )


def _leave_out(sort: Sort, name: str, draft: _Draft) -> None:
    if sort is Sort.DIRECTORY:
        draft.leave(name, "data: give it a capture, or a disk of its own")
    elif sort is Sort.SETUID:
        draft.leave(name, "a program of no package that makes root of anybody")
    elif not name.startswith("/"):
        draft.leave(f"kernel module {name}", "in /etc/modules")


def _fits(adapter: TypeAdapter[Any], value: object) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _groups(facts: Facts, names: Iterable[str], draft: _Draft) -> None:
    groups = {}
    for name in names:
        if _fits(_USER_NAME, name):
            gid = facts.groups[name]
            groups[name] = {"gid": gid} | ({"system": True} if gid < _FIRST_USER else {})
        else:
            draft.leave(f"group {name}", "such a name cannot be declared")
    if groups:
        draft.system["groups"] = groups


def _users(facts: Facts, strangers: set[str], lab: Lab, draft: _Draft) -> None:
    users: dict[str, Any] = {}
    for name, person in facts.users.items():
        if name == "root" and person.keys:
            users[name] = {"authorized_keys": [_key_file(name, person, draft)]}
        elif name in strangers or (name == lab.login and name != "root"):
            if _fits(_USER_NAME, name):
                users[name] = _user(name, person, draft)
            else:
                draft.leave(f"user {name}", "such a name cannot be declared")
    if users:
        draft.system["users"] = users


def _user(name: str, person: Person, draft: _Draft) -> dict[str, Any]:
    said: dict[str, Any] = {"uid": person.uid}
    if person.uid < _FIRST_USER:
        said["system"] = True
    if person.comment.strip(","):
        said["comment"] = person.comment
    if person.home != f"/home/{name}":
        said["home"] = person.home
    if person.shell:
        said["shell"] = person.shell
    groups = [g for g in person.groups if g != name]
    if groups:
        said["groups"] = groups
    if person.keys:
        said["authorized_keys"] = [_key_file(name, person, draft)]
    return said


def _key_file(name: str, person: Person, draft: _Draft) -> str:
    path = f"keys/{name}.pub"
    draft.files[path] = "".join(f"{line}\n" for line in person.keys).encode()
    return path


def _files(facts: Facts, kept: Mapping[str, Kept], lab: Lab, draft: _Draft) -> None:
    files: dict[str, Any] = {}
    removed = [path for path, how in changed(facts, lab) if how == "removed"]
    links: dict[str, Any] = {}
    there = dict(loose(facts, lab))
    single, crowds = parted(there)
    for folder, paths_ in crowds.items():
        draft.leave(folder, f"{len(paths_)} files: bring them by a package, a role or a deploy")
    for path in single:
        file = there[path]
        if path in facts.setuid or file.leads_to == "/dev/null":
            continue
        if file.kind == "l" and _fits(_PATH, path) and _fits(_LINK, {"target": file.leads_to}):
            links[path] = {"target": file.leads_to}
        elif file.kind == "l":
            draft.leave(path, f"a link to {file.leads_to}, which cannot be declared")
        elif file.size > MOST:
            draft.leave(path, "too large for a configuration file")
    for path, one in kept.items():
        why = _why_not(path, one)
        if why:
            draft.leave(path, why)
            continue
        inside = path.removeprefix("/")
        draft.files[inside] = one.content
        said = {"source": inside, "mode": one.mode, "owner": one.owner, "group": one.group}
        files[path] = {k: v for k, v in said.items() if _PLAIN.get(k) != v}
    sections_ = {"files": files, "links": links, "absent": removed}
    draft.system.update({name: value for name, value in sections_.items() if value})


def _why_not(path: str, file: Kept) -> str:
    if not _fits(_PATH, path):
        return "such a path cannot be declared"
    if not (_fits(_USER_NAME, file.owner) and _fits(_USER_NAME, file.group)):
        return f"it belongs to {file.owner}:{file.group}, who has no proper name"
    if len(file.content) != file.size:
        return "too large for a configuration file, or it changes all the time"
    return looks_secret(path, file.content)


def _services(facts: Facts, lab: Lab, draft: _Draft) -> None:
    services: dict[str, Any] = {}
    for unit in _units(facts, lab):
        if facts.unit_files.get(unit, ("", ""))[0] == "transient":
            draft.leave(unit, "started by hand (systemd-run): it has no unit file to declare")
            continue
        state = facts.units.get(unit, "inactive")
        enabled = facts.unit_files.get(unit, ("", ""))[0]
        if state not in {"active", "inactive"} or not _fits(_UNIT, unit):
            draft.leave(unit, f"it is {state}: mend it, then declare it")
            continue
        services[unit.removesuffix(".service")] = _standing(state, enabled)
    if services:
        draft.system["services"] = dict(sorted(services.items()))


def _standing(state: str, enabled: str) -> Any:
    """As short as it can be said."""
    if enabled == "masked" and state == "inactive":
        return {"masked": True}
    running = "running" if state == "active" else "stopped"
    boots = enabled in {"enabled", "enabled-runtime"}
    switched = boots or enabled == "disabled"
    return (
        {"state": running, "enabled": boots}
        if switched and boots != (state == "active")
        else running
    )


def _units(facts: Facts, lab: Lab) -> Iterator[str]:
    """Units of their own, masked ones, those switched on by hand, those that listen."""
    seen: set[str] = set()
    for thing in undeclared(facts, lab):
        if thing.sort is Sort.UNIT and "/" not in thing.name and thing.name not in seen:
            static = facts.unit_files.get(thing.name, ("", ""))[0] == "static"
            if not static and "@." not in thing.name:
                seen.add(thing.name)
                yield thing.name
    listening = {t.name for t in undeclared(facts, lab) if t.sort is Sort.PORT}
    for port in facts.ports:
        told = f"{port.protocol} {port.port}" in listening
        if told and port.unit.endswith((".service", ".socket")) and port.unit not in seen:
            seen.add(port.unit)
            yield port.unit


def _mounts(facts: Facts, names: Iterable[str], draft: _Draft) -> None:
    mounts = {}
    for path in names:
        if path not in facts.table:
            draft.leave(path, "mounted by hand: it has no line in fstab")
            continue
        source, kind, options = facts.table[path]
        why = looks_secret(path, options.replace(",", "\n").encode())
        if not why and path not in facts.mounted:
            why = "in fstab, and not mounted now"
        elif not why and not {"nofail", "noauto"} & set(options.split(",")):
            why = "its line in fstab has no nofail, which declaring it would add"
        if why:
            draft.leave(path, why)
        else:
            mounts[path] = {"source": source, "type": kind, "options": options}
    if mounts:
        draft.system["mounts"] = mounts

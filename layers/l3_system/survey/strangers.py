"""Users, groups, memberships and keys that no file of the lab speaks of."""

from __future__ import annotations

from collections.abc import Iterator

from lab.model.undeclared import Sort, Undeclared
from layers.l3_system.survey import ordinary
from layers.l3_system.survey.declared import Lab
from layers.l3_system.survey.facts import Account, Facts
from layers.l3_system.survey.keys import key_of, title_of

_FIRST_USER, _NOBODY = 1000, 65534


def accounts(facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """Strangers; and of those we know, what nobody granted them here."""
    for name, user in facts.users.items():
        mine = name in {lab.login, "root"} or lab.declares("user", name, facts)
        mine = mine or name in lab.image.users or lab.knows(Sort.USER, name)
        person = _FIRST_USER <= user.uid < _NOBODY or (user.uid == 0 and name != "root")
        person = person or (user.uid < _FIRST_USER and name not in facts.brought)
        if person and not mine:
            powers = sorted(set(user.groups) & ordinary.GROUPS_OF_POWER)
            detail = f"uid {user.uid}" + (f", in {', '.join(powers)}" if powers else "")
            yield Undeclared(Sort.USER, name, detail)
        if mine:
            yield from _powers(name, user, facts, lab)
        yield from _keys(name, user, facts, lab)
    for name, gid in facts.groups.items():
        by_hand = _FIRST_USER <= gid < _NOBODY or name not in facts.brought
        if not by_hand or gid == _NOBODY or name in facts.users:
            continue
        if not lab.declares("group", name, facts) and name not in lab.image.groups:
            yield Undeclared(Sort.GROUP, name, f"gid {gid}")


def _powers(name: str, user: Account, facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    """A user that we know, in a group that nobody declared it to be in."""
    said = lab.spec.users.get(name)
    given = {*(said.groups if said else ()), *lab.image.users.get(name, user).groups}
    if name not in lab.image.users:
        given = set(said.groups) if said else set(user.groups) if name == "root" else set()
    for group in user.groups:
        declared = group in given or f"member {name} {group}" in facts.owned
        if group in ordinary.GROUPS_OF_POWER and not declared:
            yield Undeclared(Sort.MEMBER, f"{name} in {group}")


def _keys(name: str, user: Account, facts: Facts, lab: Lab) -> Iterator[Undeclared]:
    said = lab.wanted.get("user", {}).get(name)
    declared = {key_of(line) for line in (said.fields.get("authorized_keys", ()) if said else ())}
    for line in user.keys:
        key = key_of(line)
        ours = name == lab.login and key in lab.keys
        if key in declared or ours or (Sort.KEY, key) in lab.known:
            continue
        if f"key {name} {key}" not in facts.owned:
            yield Undeclared(Sort.KEY, f"{name}: {title_of(line)}")

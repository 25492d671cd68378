"""Users: groups, keys, password. What others granted a user is left alone; homes are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import JSON, Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds import user_script
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    is_found,
    name_of,
    operands,
    quote,
)
from layers.l3_system.kinds.password import fingerprint, hash_of
from layers.l3_system.kinds.user_script import PLAIN, blob
from layers.l3_system.spec import Spec, Thing, User
from layers.l3_system.spec.accounts import key_of

NAME = "user"
_HOST = ""  # the thing that holds what is known of the host besides its users


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared users; only the attributes that are declared."""
    return {name: _wanted(user) for name, user in spec.users.items()}


def _wanted(user: User) -> Wanted:
    if user.state == "absent":
        return Wanted({}, absent=True, more={"remove_home": user.remove_home})
    fields: dict[str, object] = {f: getattr(user, f) for f in PLAIN if getattr(user, f) is not None}
    more: dict[str, object] = {"exact": user.authorized_keys.exact, "system": user.system}
    if user.groups:
        fields["groups"] = sorted(set(user.groups))
    if user.password_hash is not None:
        fields["password_hash"] = str(user.password_hash)
        more["password"] = user.password_hash
    lines = {
        blob(line): " ".join(line.split())
        for file in user.authorized_keys.keys
        for line in file.content.decode(errors="replace").splitlines()
        if key_of(line)
    }
    if lines or user.authorized_keys.exact:
        fields["authorized_keys"] = sorted(lines.values())
    return Wanted(fields, more=more)


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned: the shell reads the local accounts and each user's keys by itself."""
    secret = " ".join(name for name, w in wanted.items() if "password" in w.more)
    shells = sorted({str(w.fields["shell"]) for w in wanted.values() if "shell" in w.fields})
    return (
        f"{operands(NAME, wanted)}\n"
        'if [ $# != 0 ]; then\n  names=" $* "; mark user passwd\n'
        '  while IFS= read -r l; do case $names in *" ${l%%:*} "*) printf "%s\\n" "$l" ;; esac\n'
        "  done </etc/passwd\n"
        f'  s={quote(secret)}; if [ -n "$s$own_password" ] && [ -r /etc/shadow ]; then\n'
        "    mark user shadow; while IFS=: read -r n p x; do\n"
        '      case " $s $own_password$nl" in *" $n "* | *"$nl$n$nl"*) echo "$n:$p" ;; esac\n'
        "    done </etc/shadow; fi\n"
        "  mark user groups; show /etc/group\n"
        f"  mark user shells; for s in {quote(*shells)}; do\n"
        '    [ -x "$s" ] || printf "%s\\n" "$s"; done\n'
        '  while IFS=: read -r n x u g c h s; do case $names in *" $n "*)\n'
        '    for f in "$h/.ssh/authorized_keys" "$h/.ssh/authorized_keys2"; do\n'
        '      [ ! -f "$f" ] || { mark user keys "$n"; show "$f"; }; done ;; esac\n'
        "  done </etc/passwd\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """All attributes, with every group and key the user has; a password only as a fingerprint."""
    rows: list[list[str]] = []
    passwords: dict[str, str | None] = {}
    groups: dict[str, list[str]] = {}
    keys: dict[str, list[str]] = {}
    host: dict[str, list[str]] = {}
    for section in sections:
        part, lines = section.words[0], [line.split(":") for line in section.lines]
        if part == "passwd":
            rows = [r for r in lines if len(r) == 7]  # noqa: PLR2004
        elif part == "shadow":
            passwords = {r[0]: fingerprint(r[1]) for r in lines if len(r) > 1}
        elif part == "groups":
            host["groups"] = [group[0] for group in lines if len(group) == 4]  # noqa: PLR2004
            for group in lines:
                for member in group[3].split(",") if len(group) == 4 else ():  # noqa: PLR2004
                    groups.setdefault(member, []).append(group[0])
        elif part == "shells":
            host["no_shells"] = section.lines
        else:
            found = [" ".join(k.split()) for k in section.lines if key_of(k)]
            keys.setdefault(section.words[1], []).extend(found)
    users = {
        name: Thing(
            fields={
                "uid": int(uid),
                "comment": comment,
                "home": home,
                "shell": shell,
                "groups": sorted(groups.get(name, [])),
                "password_hash": passwords.get(name),
                "authorized_keys": sorted(keys.get(name, [])),
            }
        )
        for name, _, uid, _, comment, home, shell in rows
    }
    return {**users, _HOST: Thing(facts=host)} if host else users


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make the user; or change its attributes, and the groups and keys that are ours."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    if wanted.absent:
        return _removed(name, wanted, found)
    missing = _missing(name, wanted, view)
    if missing is not None:
        return missing
    if found is None:
        fields = tuple(
            FieldDiff(f, None, v, secret=f == "password_hash") for f, v in wanted.fields.items()
        )
        return Change(Action.CREATE, f"{NAME} {name}", fields)
    diffs = [
        FieldDiff(f, found.fields.get(f), wanted.fields[f])
        for f in PLAIN
        if f in wanted.fields and found.fields.get(f) != wanted.fields[f]
    ]
    diffs += _password(name, wanted, found, view)
    diffs += _granted(name, wanted, found, view)
    return Change(Action.UPDATE, f"{NAME} {name}", tuple(diffs)) if diffs else None


def _missing(name: str, wanted: Wanted, view: View) -> Blocker | None:
    """A group or shell that neither the host nor anything declared brings (a package might)."""
    host = view.found(NAME, _HOST)
    if host is None or any(what.startswith("package ") for what in view.changing):
        return None
    there = {*host.facts.get("groups", ()), *view.wanted["group"], *view.wanted[NAME]}
    for group in _lines(wanted.fields.get("groups")):
        if group not in there:
            return Blocker(
                f"{NAME} {name}",
                f"there is no group {group} on the host, and none is declared",
                f"declare {group} under groups, or the package that brings it",
            )
    if wanted.fields.get("shell") in host.facts.get("no_shells", ()):
        return Blocker(
            f"{NAME} {name}",
            f"there is no {wanted.fields['shell']} on the host",
            "declare the package that brings it",
        )
    return None


def _password(name: str, wanted: Wanted, found: Thing, view: View) -> list[FieldDiff]:
    """The secret is revealed only where there is something to compare it with."""
    before, secret = found.fields.get("password_hash"), wanted.more.get("password")
    if secret is None:
        ours = f"password {name}" in view.observed.owned
        return [FieldDiff("password_hash", before, None, secret=True)] if ours else []
    if before == str(secret) or (before and before == fingerprint(hash_of(secret, name))):
        return []
    return [FieldDiff("password_hash", before, str(secret), secret=True)]


def _granted(name: str, wanted: Wanted, found: Thing, view: View) -> list[FieldDiff]:
    """Groups and keys: those declared must be there, those of ours no longer declared must go."""
    diffs = []
    groups, keys = (_lines(wanted.fields.get(f)) for f in ("groups", "authorized_keys"))
    ours = set(groups) | _recorded(f"member {name} ", view)
    before = [g for g in _lines(found.fields.get("groups")) if g in ours]
    if before != groups:
        diffs.append(FieldDiff("groups", _shown(before), _shown(groups)))
    have = _lines(found.fields.get("authorized_keys"))
    if not wanted.more.get("exact"):
        blobs = {blob(k) for k in keys} | _recorded(f"key {name} ", view)
        have = [k for k in have if blob(k) in blobs]
    if {key_of(k) for k in have} != {key_of(k) for k in keys}:
        diffs.append(FieldDiff("authorized_keys", _shown(have), _shown(keys)))
    return diffs


def _recorded(prefix: str, view: View) -> set[str]:
    return {t.removeprefix(prefix) for t in view.observed.owned if t.startswith(prefix)}


def _lines(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else []


def _shown(values: list[str]) -> JSON:
    return list(values) or None


def _removed(name: str, wanted: Wanted, found: Thing | None) -> Change | None:
    if found is None:
        return None
    home, removed = found.fields.get("home"), wanted.more.get("remove_home")
    return Change(
        Action.DELETE,
        f"{NAME} {name}",
        _lost(found),
        reason="declared absent" if removed else f"declared absent; {home} stays",
        destroys=f"{home}, the home of {name}" if removed else "",
    )


def _lost(found: Thing) -> tuple[FieldDiff, ...]:
    return tuple(
        FieldDiff(f, v, None, secret=f == "password_hash")
        for f, v in found.fields.items()
        if v is not None
    )


def prune(name: str, view: View) -> Change:
    """Remove the user and keep the home; one that was there before only loses what we granted."""
    found, what = view.found(NAME, name), f"{NAME} {name}"
    if found is None:
        gone = "no longer declared, and gone: only forgotten"
        return Change(Action.DELETE, what, reason=gone)
    if not is_found(NAME, name, view):
        stays = f"no longer declared; {found.fields.get('home')} stays"
        return Change(Action.DELETE, what, _lost(found), reason=stays)
    nothing = Wanted({})
    return Change(
        Action.UPDATE,
        what,
        (*_password(name, nothing, found, view), *_granted(name, nothing, found, view)),
        reason="no longer declared; it was there before and stays, without what it was given",
    )


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a user."""
    return [user_script.step(change, wanted.get(name_of(change))) for change in changes]

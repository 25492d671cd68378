"""Users with their groups and keys. What others granted a user is left alone; homes are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from lab.model.plan import JSON, Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    created,
    is_found,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing, User

NAME = "user"
_PLAIN = ("uid", "comment", "home", "shell")
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
_FLAGS = {"uid": "-u", "comment": "-c", "home": "-d", "shell": "-s"}

# The keys' file lies in a folder of the user: a link there must not lead root elsewhere.
_KEYS = """IFS=: read -r u x uid gid c home s <<EOT
$(getent passwd NAME)
EOT
d=$home/.ssh; f=$d/authorized_keys
if [ -L "$d" ] || [ -L "$f" ]; then echo "$f is a link" >&2; exit 1; fi
[ -d "$d" ] || { mkdir -m 700 "$d"; chown "$uid:$gid" "$d"; }
rm -f "$f.strata-new"
k=$({ [ ! -f "$f" ] || grep -vF BLOBS "$f" || :; printf '%s\\n' LINES; } | grep . || :)
( umask 077; set -C; printf '%s\\n' "$k" >"$f.strata-new" )
chown "$uid:$gid" "$f.strata-new"; mv -f "$f.strata-new" "$f"
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared users; only the attributes that are declared."""
    return {name: Wanted(_fields(user)) for name, user in spec.users.items()}


def _fields(user: User) -> dict[str, object]:
    fields: dict[str, object] = {
        f: getattr(user, f) for f in _PLAIN if getattr(user, f) is not None
    }
    if user.groups:
        fields["groups"] = sorted(set(user.groups))
    lines = {
        _blob(line): " ".join(line.split())
        for key in user.authorized_keys
        for line in key.content.decode(errors="replace").splitlines()
        if _blob(line)
    }
    if lines:
        fields["authorized_keys"] = sorted(lines.values())
    return fields


def _blob(line: str) -> str:
    """The key itself within a line that may have options before it and a comment after it."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return ""
    return next((key for kind, key in pairwise(words) if kind.startswith(_KEY_TYPES)), "")


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned: the shell reads the local accounts and each user's keys by itself."""
    return (
        f"{operands(NAME, wanted)}\n"
        'if [ $# != 0 ]; then\n  names=" $* "; mark user passwd\n'
        '  while IFS= read -r l; do case $names in *" ${l%%:*} "*) printf "%s\\n" "$l" ;; esac\n'
        "  done </etc/passwd\n"
        "  mark user groups; show /etc/group\n"
        '  while IFS=: read -r n x u g c h s; do case $names in *" $n "*)\n'
        "    f=$h/.ssh/authorized_keys\n"
        '    [ ! -f "$f" ] || { mark user keys "$n"; show "$f"; } ;; esac\n'
        "  done </etc/passwd\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """All attributes, with every group and key the user has."""
    rows: list[list[str]] = []
    groups: dict[str, list[str]] = {}
    keys: dict[str, list[str]] = {}
    for section in sections:
        if section.words[0] == "passwd":
            rows = [r for r in (line.split(":") for line in section.lines) if len(r) == 7]  # noqa: PLR2004
        elif section.words[0] == "groups":
            for group in (line.split(":") for line in section.lines):
                for member in group[3].split(",") if len(group) == 4 else ():  # noqa: PLR2004
                    groups.setdefault(member, []).append(group[0])
        else:
            keys[section.words[1]] = [" ".join(k.split()) for k in section.lines if _blob(k)]
    return {
        name: Thing(
            fields={
                "uid": int(uid),
                "comment": comment,
                "home": home,
                "shell": shell,
                "groups": sorted(groups.get(name, [])),
                "authorized_keys": sorted(keys.get(name, [])),
            }
        )
        for name, _, uid, _, comment, home, shell in rows
    }


def compare(name: str, view: View) -> Change | Blocker | None:
    """Make the user; or change its attributes, and the groups and keys that are ours."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    if found is None:
        return created(NAME, name, wanted)
    diffs = [
        FieldDiff(f, found.fields.get(f), wanted.fields[f])
        for f in _PLAIN
        if f in wanted.fields and found.fields.get(f) != wanted.fields[f]
    ]
    diffs += _granted(name, wanted.fields, found, view)
    return Change(Action.UPDATE, f"{NAME} {name}", tuple(diffs)) if diffs else None


def _granted(
    name: str, declared: Mapping[str, object], found: Thing, view: View
) -> list[FieldDiff]:
    """Groups and keys: those declared must be there, those of ours no longer declared must go."""
    diffs = []
    groups, keys = _lines(declared.get("groups")), _lines(declared.get("authorized_keys"))
    ours = set(groups) | _recorded(f"member {name} ", view)
    before = [g for g in _lines(found.fields.get("groups")) if g in ours]
    if before != groups:
        diffs.append(FieldDiff("groups", _shown(before), _shown(groups)))
    blobs = {_blob(k) for k in keys} | _recorded(f"key {name} ", view)
    have = [k for k in _lines(found.fields.get("authorized_keys")) if _blob(k) in blobs]
    if {_blob(k) for k in have} != {_blob(k) for k in keys}:
        diffs.append(FieldDiff("authorized_keys", _shown(have), _shown(keys)))
    return diffs


def _recorded(prefix: str, view: View) -> set[str]:
    return {t.removeprefix(prefix) for t in view.observed.owned if t.startswith(prefix)}


def _lines(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else []


def _shown(values: list[str]) -> JSON:
    return list(values) or None


def prune(name: str, view: View) -> Change:
    """Remove the user and keep the home; one that was there before only loses what we granted."""
    found = view.found(NAME, name)
    if found is None or not is_found(NAME, name, view):
        home = "" if found is None else f"{found.fields.get('home')} stays"
        return pruned(NAME, name, view, home)
    return Change(
        Action.UPDATE,
        f"{NAME} {name}",
        tuple(_granted(name, {}, found, view)),
        reason="no longer declared; it was there before and stays, without what it was given",
    )


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a user."""
    return [Step((change,), _script(change, wanted.get(name_of(change)))) for change in changes]


def _script(change: Change, wanted: Wanted | None) -> str:
    name, thing = name_of(change), quote(change.what)
    quoted = quote(name)
    if change.action is Action.DELETE:
        gone = f"if getent passwd {quoted} >/dev/null; then userdel {quoted}; fi"
        return f"{gone}\n{_forget_all(name)}"
    fields = {} if wanted is None else wanted.fields
    diffs = {d.field: d for d in change.fields}
    flags = [w for f, flag in _FLAGS.items() if f in diffs for w in (flag, str(fields[f]))]
    lines = []
    if change.action is Action.CREATE:
        shell = [] if "shell" in fields else ["-s", "/bin/bash"]
        lines += [
            f"own {thing} made",
            f"if ! getent passwd {quoted} >/dev/null; then",
            f"g=; getent group {quoted} >/dev/null && g='-g {name}'",
            # '*' is no password, but unlike '!' not a locked account: keys still let it in
            f"useradd -m -p '*' {quote(*flags, *shell)} $g {quoted}; fi",
        ]
    else:
        lines.append(f"own {thing} found")
        if flags:
            lines.append(f"usermod {quote(*flags)} {quoted}")
    lines += _membership(name, diffs.get("groups"))
    lines += _authorized(name, diffs.get("authorized_keys"))
    if wanted is None:
        lines.append(_forget_all(name))
    return "\n".join(lines)


def _membership(name: str, diff: FieldDiff | None) -> list[str]:
    if diff is None:
        return []
    before, after = set(_lines(diff.before)), set(_lines(diff.after))
    lines = [f"own {quote(f'member {name} {g}')} made" for g in sorted(after - before)]
    if after - before:
        lines.append(f"usermod -aG {','.join(sorted(after - before))} {quote(name)}")
    for group in sorted(before - after):
        lines.append(f"gpasswd -d {quote(name, group)} >/dev/null")
        lines.append(f"disown {quote(f'member {name} {group}')}")
    return lines


def _authorized(name: str, diff: FieldDiff | None) -> list[str]:
    if diff is None:
        return []
    before = {_blob(k): k for k in _lines(diff.before)}
    after = {_blob(k): k for k in _lines(diff.after)}
    come = [b for b in after if b not in before]
    touched = [*come, *(b for b in before if b not in after)]
    patterns = " ".join(f"-e {quote(b)}" for b in touched)
    script = (
        _KEYS.replace("NAME", quote(name))
        .replace("BLOBS", patterns)
        .replace("LINES", quote(*(after[b] for b in come)) if come else "''")
    )
    return [
        *(f"own {quote(f'key {name} {b}')} made" for b in come),
        script,
        *(f"disown {quote(f'key {name} {b}')}" for b in touched if b not in after),
    ]


def _forget_all(name: str) -> str:
    """Take the user and everything granted to it out of the ledger."""
    return (
        f"disown {quote(f'user {name}')}\n"
        f'[ ! -r $lib/owned ] || while IFS="$tab" read -r s t n; do case $t in '
        f'"member {name} "* | "key {name} "*) disown "$t" ;; esac; done <<EOT\n'
        "$(cat $lib/owned)\nEOT"
    )

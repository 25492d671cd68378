"""The shell that makes, changes and removes a user."""

from __future__ import annotations

import re

from lab.model.plan import Action, Change, FieldDiff
from layers.l3_system.kinds.kind import Step, Wanted, name_of, quote
from layers.l3_system.kinds.password import hash_of
from layers.l3_system.spec.accounts import key_of

PLAIN = ("uid", "comment", "home", "shell")
_FLAGS = {"uid": "-u", "comment": "-c", "home": "-d", "shell": "-s"}

# The keys' file lies in a folder of the user: a link there must not lead root elsewhere.
_KEYS = """IFS=: read -r u x uid gid c home s <<EOT
$(getent passwd NAME)
EOT
d=$home/.ssh; f=$d/authorized_keys
if [ -L "$d" ] || [ -L "$f" ]; then echo "$f is a link" >&2; exit 1; fi
[ -d "$home" ] || { echo "$home, the home of NAME, is not there" >&2; exit 1; }
[ -d "$d" ] || { mkdir -m 700 "$d"; chown "$uid:$gid" "$d"; }
rm -f "$f.strata-new"
k=$({ KEEP; printf '%s\\n' LINES; } | grep . || :)
( umask 077; set -C; printf '%s\\n' "$k" >"$f.strata-new" )
chown "$uid:$gid" "$f.strata-new"; mv -f "$f.strata-new" "$f"
"""

# Who is logged in, or runs something, could not be removed.
_REMOVE = """if getent passwd NAME >/dev/null; then
  IFS=: read -r u x uid gid c home s <<EOT
$(getent passwd NAME)
EOT
HOME_GOES  n=0
  while r=0; said=$(userdel NAME 2>&1) || r=$?; [ $r = 8 ] && [ $n -lt 20 ]; do
    [ $n != 0 ] || loginctl terminate-user NAME 2>/dev/null || :
    [ $n != 5 ] || stat -c '%u %n' /proc/[0-9]* 2>/dev/null | while read -r o p; do
      [ "$o" != "$uid" ] || kill -KILL "${p##*/}" 2>/dev/null || :; done
    n=$((n + 1)); sleep 0.3
  done
  [ $r = 0 ] || { echo "$said"; exit 1; }
fi
"""
_HOME = """  if [ "$uid" != 0 ] && [ ! -L "$home" ] && [ -d "$home" ]; then
    if [ "$(stat -c %u "$home")" = "$uid" ]; then rm -rf --one-file-system -- "$home"
    else echo "$home belongs to somebody else"; exit 1; fi
  fi
"""

_HASHED = """if [ -z "$(how THING)" ]; then
  mkdir -p -m 700 $lib/passwords
  ( umask 077; while IFS=: read -r n p x; do
    [ "$n" != NAME ] || printf '%s\\n' "$p" >$lib/passwords/NAME; done </etc/shadow )
  own THING made
fi
"""
_UNHASHED = """p='*'; [ ! -r $lib/passwords/NAME ] || read -r p <$lib/passwords/NAME
printf '%s:%s\\n' NAME "$p" | chpasswd -e; rm -f $lib/passwords/NAME; disown THING
"""


def blob(line: str) -> str:
    """The key itself of a line of authorized_keys, without its type, options and comment."""
    return key_of(line).rpartition(" ")[2]


def _filled(script: str, **words: str) -> str:
    """The script with its words in capitals replaced, in one pass: a value is never a word."""
    return re.sub(rf"\b({'|'.join(words)})\b", lambda m: words[m[0]], script)


def step(change: Change, wanted: Wanted | None) -> Step:
    """One change of one user."""
    return Step((change,), _script(change, wanted), makes=tuple((t, "") for t in _made(change)))


def _made(change: Change) -> list[str]:
    """What a new user is and gets, as the ledger calls it."""
    if change.action is not Action.CREATE:
        return []
    name, diffs = name_of(change), {d.field: d for d in change.fields}
    groups = _lines(diffs["groups"].after) if "groups" in diffs else []
    return [change.what, *(f"member {name} {g}" for g in sorted(set(groups)))]


def _script(change: Change, wanted: Wanted | None) -> str:
    name = name_of(change)
    if change.action is Action.DELETE:
        home = _HOME if wanted is not None and wanted.more.get("remove_home") else ""
        return _filled(_REMOVE, HOME_GOES=home, NAME=quote(name)) + _forget_all(name)
    diffs = {d.field: d for d in change.fields}
    lines = [*_account(change, wanted or Wanted({}), diffs)]
    if change.action is not Action.CREATE:
        lines += _membership(name, diffs.get("groups"))
    lines += _password(name, diffs.get("password_hash"), wanted)
    exact = wanted is not None and bool(wanted.more.get("exact"))
    lines += _authorized(name, diffs.get("authorized_keys"), exact=exact)
    if wanted is None:
        lines.append(_forget_all(name))
    return "\n".join(lines)


def _account(change: Change, wanted: Wanted, diffs: dict[str, FieldDiff]) -> list[str]:
    fields, quoted = wanted.fields, quote(name_of(change))
    flags = [w for f, flag in _FLAGS.items() if f in diffs for w in (flag, str(fields[f]))]
    lines = []
    if "shell" in diffs:
        shell = str(fields["shell"])
        lines.append(
            f"[ -x {quote(shell)} ] || {{ echo {quote(f'there is no {shell}')}; exit 1; }}"
        )
    if change.action is Action.CREATE:
        system = bool(wanted.more.get("system"))
        if "shell" not in fields:
            flags += ["-s", "/usr/sbin/nologin" if system else "/bin/bash"]
        if system:
            flags.append("-r")
        homeless = system and not {"home", "authorized_keys"} & set(fields)
        groups = ",".join(sorted(set(_lines(fields.get("groups")))))
        if groups:
            flags += ["-G", groups]
        lines += [
            f"if ! getent passwd {quoted} >/dev/null; then",
            f"g=; ! getent group {quoted} >/dev/null || g='-g {name_of(change)}'",
            # '*' is no password, but unlike '!' not a locked account: keys still let it in
            f"useradd {'-M' if homeless else '-m'} -p '*' {quote(*flags)} $g {quoted}",
            *([f"else usermod -aG {quote(groups)} {quoted}"] if groups else []),
            "fi",
        ]
        return lines
    lines.append(f"own {quote(change.what)} found")
    if "home" in diffs:
        old, new = quote(str(diffs["home"].before)), quote(str(fields["home"]))
        lines.append(f"move=; [ -e {new} ] || [ ! -d {old} ] || move=-m")
        flags.insert(0, "$move")
    if flags:
        words = " ".join(f if f == "$move" else quote(f) for f in flags)
        lines.append(f"usermod {words} {quoted}")
    return lines


def _lines(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else []


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


def _password(name: str, diff: FieldDiff | None, wanted: Wanted | None) -> list[str]:
    """The hash travels on standard input: no process shows it in its arguments."""
    if diff is None:
        return []
    thing = quote(f"password {name}")
    secret = None if wanted is None else wanted.more.get("password")
    if secret is None:
        return [_filled(_UNHASHED, THING=thing, NAME=quote(name))]
    line = quote(f"{name}:{hash_of(secret, name)}")
    keep = _filled(_HASHED, THING=thing, NAME=quote(name))
    return [f"{keep}printf '%s\\n' {line} | chpasswd -e"]


def _authorized(name: str, diff: FieldDiff | None, *, exact: bool) -> list[str]:
    if diff is None:
        return []
    before = {key_of(k): k for k in _lines(diff.before)}
    after = {key_of(k): k for k in _lines(diff.after)}
    come = [blob(k) for k in after if k not in before]
    gone = [blob(k) for k in before if k not in after]
    touched = {*come, *gone}
    if exact:
        keep, lines = ":", list(after.values())
    else:
        patterns = " ".join(f"-e {quote(b)}" for b in sorted(touched))
        keep = f'[ ! -f "$f" ] || grep -vF {patterns} "$f" || :'
        lines = [line for key, line in after.items() if blob(key) in touched]
    words = quote(*lines) if lines else "''"
    return [
        *(f"own {quote(f'key {name} {b}')} made" for b in come),
        _filled(_KEYS, NAME=quote(name), KEEP=keep, LINES=words),
        *(['rm -f "$d/authorized_keys2"'] if exact else []),
        *(f"disown {quote(f'key {name} {b}')}" for b in gone if b not in map(blob, after)),
    ]


def _forget_all(name: str) -> str:
    """Take the user and everything granted to it out of the ledger."""
    return (
        f"disown {quote(f'user {name}')}\nrm -f $lib/passwords/{quote(name)}\n"
        f'[ ! -r $lib/owned ] || while IFS="$tab" read -r s t n; do case $t in '
        f'"member {name} "* | "key {name} "* | "password {name}") disown "$t" ;; esac; done <<EOT\n'
        "$(cat $lib/owned)\nEOT"
    )

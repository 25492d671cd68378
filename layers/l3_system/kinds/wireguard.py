"""Keys of WireGuard: from a secret, or made on the host, which they never leave.

systemd-networkd reads them from files that only root and it may read. A plan names a key by its
public half, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab.model.plan import Action, Blocker, Change, FieldDiff
from lab.model.secret import Secret
from layers.l3_system.kinds import template
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
from layers.l3_system.spec import Spec, Thing

if TYPE_CHECKING:
    from layers.l3_system.spec.wireguard import Wireguard

NAME = "wireguard"
FOLDER = "/etc/systemd/network/05-strata-"
_GENERATED = "generated"

_PROBE = """for n in "$@"; do
  f=FOLDER$n.key; [ -r "$f" ] || continue
  d=$(sha256sum -- "$f" FOLDER$n.psk* 2>/dev/null)
  p=; ! command -v wg >/dev/null || p=$(wg pubkey <"$f" 2>/dev/null)
  mark wireguard "$n" "$p"; printf '%s\\n' "$d"
done"""
_PUT = """put() {
  ( umask 077; set -C; rm -f "$1.new"; cat >"$1.new" )
  ! getent group systemd-network >/dev/null || chown root:systemd-network "$1.new"
  chmod 640 "$1.new"; mv -f "$1.new" "$1"
}
own THING made
mkdir -p /etc/systemd/network
rm -f FOLDERNAME.psk*
"""
_MAKE = """k=KEPT
if [ ! -s "$k" ]; then
  mkdir -p "${k%/*}"
  if [ -s FOLDERNAME.key ]; then key=$(cat FOLDERNAME.key)
  else key=$(wg genkey); fi
  ( umask 077; printf '%s\\n' "$key" >"$k.new" ); sync "$k.new" 2>/dev/null || sync
  mv -f "$k.new" "$k"
fi
wg pubkey <"$k" >/dev/null || { echo "$k holds no key" >&2; exit 1; }
put FOLDERNAME.key <"$k"
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared tunnels: a secret key by its digest, one that is made on the host by that word."""
    return {name: _tunnel(name, tunnel) for name, tunnel in spec.wireguard.items()}


def _tunnel(name: str, tunnel: Wireguard) -> Wanted:
    key = tunnel.private_key
    kept = tunnel.key_file or f"{FOLDER}{name}.key"
    shared = [p.preshared_key for p in tunnel.peers]
    fields: dict[str, object] = {"private_key": _digest(key) if isinstance(key, Secret) else key}
    for number, secret in enumerate(shared):
        if secret is not None:
            fields[f"preshared_key {number}"] = _digest(secret)
    content = key.reveal().strip() if isinstance(key, Secret) else ""
    pieces = [content, *("" if s is None else s.reveal().strip() for s in shared)]
    return Wanted(fields, content="\n".join(pieces).encode(), watched=(kept,))


def _digest(secret: Secret) -> str:
    return template.digest(secret.reveal().strip().encode() + b"\n")


def probe(wanted: Mapping[str, Wanted]) -> str:
    """A sha256sum and a wg a tunnel: the key stays there."""
    return f"{operands(NAME, wanted)}\n{_PROBE.replace('FOLDER', FOLDER)}"


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Digests of the keys, and the public one."""
    found = {}
    for section in sections:
        name, public = (*section.words, "")[:2]
        fields: dict[str, object] = {}
        for line in section.lines:
            digest, _, path = line.partition("  ")
            kind = path.removeprefix(f"{FOLDER}{name}.")
            number = kind.removeprefix("psk")
            fields["private_key" if kind == "key" else f"preshared_key {number}"] = digest
        found[name] = Thing(fields=fields, facts={"public_key": public})
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Put the keys there, or make one; the old and the new value are never shown."""
    wanted, found = view.wanted[NAME][name].fields, view.found(NAME, name)
    before = dict(found.fields) if found else {}
    if wanted["private_key"] == _GENERATED and before.get("private_key"):
        before["private_key"] = _GENERATED
    diffs = [
        FieldDiff(f, before.get(f), wanted.get(f), secret=wanted.get(f) != _GENERATED)
        for f in sorted({*before, *wanted})
        if before.get(f) != wanted.get(f)
    ]
    if not diffs:
        return None
    action = Action.UPDATE if found else Action.CREATE
    return Change(action, f"{NAME} {name}", tuple(diffs))


def prune(name: str, view: View) -> Change:
    """Remove the keys; one that was kept in a file of its own stays there."""
    gone = pruned(NAME, name, view, "a key_file stays")
    return Change(gone.action, gone.what, (), gone.reason)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a tunnel; secrets come on standard input."""
    return [_step(change, wanted.get(name_of(change))) for change in changes]


def _step(change: Change, wanted: Wanted | None) -> Step:
    name, thing = name_of(change), quote(change.what)
    if wanted is None:
        files = f"{FOLDER}{name}"
        return Step((change,), f"rm -f {files}.key {files}.psk*\ndisown {thing}")
    pieces = wanted.content.split(b"\n")
    script = _PUT
    stdin = b""
    if pieces[0]:
        script += f"take_to FOLDERNAME.key {len(pieces[0]) + 1}\n"
        stdin += pieces[0] + b"\n"
    else:
        script += _MAKE.replace("KEPT", quote(wanted.watched[0]))
    for number, piece in enumerate(pieces[1:]):
        if piece:
            script += f"take_to FOLDERNAME.psk{number} {len(piece) + 1}\n"
            stdin += piece + b"\n"
    taken = 'take_to() { take "$1.in" "$2"; put "$1" <"$1.in"; rm -f "$1.in"; }\numask 077\n'
    text = taken + script
    text = text.replace("FOLDER", FOLDER).replace("NAME", name).replace("THING", thing)
    return Step((change,), text, stdin)

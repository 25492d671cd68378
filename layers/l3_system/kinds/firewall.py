"""The firewall: tables of nftables of our own, at boot and loaded now. Those of others stay.

What is loaded is compared by a hash of how nft lists it, taken when it was loaded: whatever
anybody does to our tables is seen, and what belongs to others (Docker's, fail2ban's) is not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab.lazy import Lazy
from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds import template
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
from layers.l3_system.spec import Spec, Thing

if TYPE_CHECKING:
    from layers.l3_system.spec import firewall as declared
    from layers.l3_system.spec.firewall import Allowed, Firewall, Ruleset
else:
    declared = Lazy("layers.l3_system.spec.firewall")

NAME = "firewall"
CONF = "/etc/nftables.conf"
_THING = "nftables"
_RECORD = "$lib/firewall"
_TABLE = "inet strata"
_SSH = 22
_SHOWN = 65536

# The record: the digest of the file that was loaded, the hash of the listing, a table a line.
_LISTING = """listing() {
  while IFS= read -r t; do nft -s -t list table $t 2>/dev/null || echo gone; done | sha256sum
}
"""
_PROBE = """if [ $# != 0 ] && [ -e CONF ]; then
  d=$(sha256sum CONF); d=${d%% *}; b=no; r=; h=; l=
  for f in /etc/systemd/system/*.wants/nftables.service; do [ ! -L "$f" ] || b=yes; done
  if [ -r RECORD ] && command -v nft >/dev/null; then
    { read -r r; read -r h; l=$(listing); l=${l%% *}; } <RECORD
  fi
  mark firewall "$1" "$d" "$b" "$r" "$h" "$l"
  [ "$d" = WANTED ] || head -c SHOWN CONF
fi"""
_LOAD = """command -v nft >/dev/null || { echo "nft is not installed" >&2; exit 1; }
mkdir -p -m 700 $lib/originals/etc
if [ -z "$(how THING)" ]; then
  b=off; for f in /etc/systemd/system/*.wants/nftables.service; do [ ! -L "$f" ] || b=on; done
  if [ -e CONF ]; then cp -a CONF $lib/originalsCONF; own THING "found $b"
  else own THING "made $b"; fi
fi
new=CONF.strata-new; rm -f $new
( umask 077; take $new SIZE ); chmod 755 $new; chown root:root $new
{ [ ! -r RECORD ] || sed 1,2d RECORD; } | while IFS= read -r t; do
  printf 'table %s\\ndelete table %s\\n' "$t" "$t"
done >$new-load
cat $new >>$new-load
nft -c -f $new-load || { rm -f $new $new-load; echo "nft refuses the ruleset" >&2; exit 1; }
mv -f $new CONF
nft -f $new-load; rm -f $new-load
d=$(sha256sum CONF); h=$(printf '%s\\n' TABLES | listing)
printf '%s\\n' "${d%% *}" "${h%% *}" TABLES >RECORD
systemctl -q enable --now nftables.service
"""
_GONE = """if [ -r RECORD ] && command -v nft >/dev/null; then
  sed 1,2d RECORD | while IFS= read -r t; do
    printf 'table %s\\ndelete table %s\\n' "$t" "$t"
  done | nft -f -
fi
was=$(how THING); rm -f RECORD
case $was in
  found*) mv -f $lib/originalsCONF CONF ;;
  made*) rm -f CONF ;;
esac
case $was in
  *off) systemctl -q disable nftables.service 2>/dev/null || : ;;
  found*) nft -f CONF ;;
esac
disown THING
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:
    """The whole of /etc/nftables.conf; a ruleset that cannot be used raises ValueError."""
    if spec.firewall is None:
        return {}
    rules = _given(spec.firewall.ruleset, place)
    if rules is None:
        rules = _made(spec.firewall, spec.ssh_server.port if spec.ssh_server else ())
    names = declared.tables(rules)
    head = "".join(f"table {name}\ndelete table {name}\n" for name in names)
    content = f"#!/usr/sbin/nft -f\n# Written by Strata\n{head}\n{rules}".encode()
    fields = {"rules": template.digest(content), "loaded": True, "boot": True}
    return {_THING: Wanted(fields, content=content, watched=names)}


def _given(ruleset: Ruleset | None, place: Place) -> str | None:
    if ruleset is None:
        return None
    if ruleset.template is not None:
        return template.render(ruleset.template.text, place)
    if ruleset.source is not None:
        return ruleset.source.text
    return ruleset.content or ""


def _made(firewall: Firewall, ports: Sequence[int]) -> str:
    """A chain for what comes in: what must never be cut stands first."""
    ssh = [declared.Allowed.model_validate({"port": str(port)}) for port in ports or (_SSH,)]
    lines = [
        "ct state established,related accept",
        "ct state invalid drop",
        'iifname "lo" accept',
        "meta l4proto { icmp, ipv6-icmp } accept",
        "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
        *(line for rule in ssh for line in _rule(rule)),
        *(line for rule in firewall.allow if rule.port != "ssh" for line in _rule(rule)),
        *(["reject with icmpx admin-prohibited"] if firewall.policy == "reject" else []),
    ]
    policy = "accept" if firewall.policy == "accept" else "drop"
    body = "".join(f"\t\t{line}\n" for line in lines)
    return (
        f"table {_TABLE} {{\n\tchain input {{\n"
        f"\t\ttype filter hook input priority filter; policy {policy};\n{body}\t}}\n}}\n"
    )


def _rule(rule: Allowed) -> list[str]:
    match = f"{rule.proto} dport {rule.port} accept"
    if not rule.origin:
        return [match]
    return [f"{'ip6' if ':' in o else 'ip'} saddr {o} {match}" for o in rule.origin]


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned where no firewall is declared; else one nft a table of ours."""
    digest = next((str(w.fields["rules"]) for w in wanted.values()), "none")
    script = _PROBE.replace("WANTED", digest).replace("SHOWN", str(_SHOWN))
    return f"{operands(NAME, wanted)}\n{_LISTING}{_filled(script)}"


def _filled(script: str, thing: str = "") -> str:
    return script.replace("CONF", CONF).replace("RECORD", _RECORD).replace("THING", thing)


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """The file's digest, whether what is loaded is what it says, and whether it is at boot."""
    found = {}
    for section in sections:
        name, digest, boot, loaded, then, now = (*section.words, "", "", "", "", "")[:6]
        same = bool(now) and (digest, now) == (loaded, then)
        facts = {"text": section.body.decode(errors="replace")} if section.body else {}
        fields = {"rules": digest, "loaded": same, "boot": boot == "yes"}
        found[name] = Thing(fields=fields, facts=facts)
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Write and load it, showing the lines that change."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    before = found.fields if found else {}
    diffs = tuple(
        FieldDiff(f, before.get(f), v, text=_diff(wanted, found) if f == "rules" else "")
        for f, v in wanted.fields.items()
        if before.get(f) != v
    )
    if not diffs:
        return None
    action = Action.UPDATE if f"{NAME} {name}" in view.observed.owned else Action.CREATE
    lost = before.get("rules") == wanted.fields["rules"] and before.get("loaded") is False
    reason = "what is loaded is not what the file says" if lost else ""
    return Change(action, f"{NAME} {name}", diffs, reason=reason)


def _diff(wanted: Wanted, found: Thing | None) -> str:
    before = str(found.facts.get("text", "")) if found else ""
    after = wanted.content.decode()
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{CONF} (there)", f"{CONF} (wanted)", lineterm=""
    )
    return "\n".join(lines)


def prune(name: str, view: View) -> Change:
    """Take our tables out; the rules that were there before come back."""
    if view.found(NAME, name) is not None and is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason=f"no longer declared; the {CONF} that was there before comes back",
        )
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One; the rules come on standard input, and are checked before anything changes."""
    return [_step(change, wanted.get(name_of(change))) for change in changes]


def _step(change: Change, wanted: Wanted | None) -> Step:
    thing = quote(change.what)
    if wanted is None:
        return Step((change,), _filled(_GONE, thing))
    script = _LOAD.replace("SIZE", str(len(wanted.content)))
    script = _filled(script, thing).replace("TABLES", quote(*wanted.watched))
    return Step((change,), f"{_LISTING}{script}", wanted.content)

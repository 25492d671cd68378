"""The host's own name: now, at every boot, and known to itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.model.plan import Blocker, Change
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    compared,
    name_of,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing

NAME = "hostname"


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:
    """The declared name, else the host's name in the inventory."""
    name = spec.hostname or place.name
    return {name: Wanted({"running": name, "boot": name, "hosts": True})}


def probe(wanted: Mapping[str, Wanted]) -> str:
    """Nothing is spawned: the shell reads the files by itself.

    A name is known where /etc/hosts has it, or where the C library asks for its own name itself.
    """
    return (
        "r=; b=; h=; read -r r </proc/sys/kernel/hostname\n"
        "[ ! -r /etc/hostname ] || read -r b </etc/hostname\n"
        '[ ! -r /etc/hosts ] || while read -r a n; do case $a in "#"*) ;; *) h="$h $n" ;; esac; '
        "done </etc/hosts\n"
        "[ ! -r /etc/nsswitch.conf ] || while read -r a n; do case $a$n in "
        'hosts:*myhostname*) h="$h $r" ;; esac; done </etc/nsswitch.conf\n'
        f'mark hostname {quote(*wanted)}; printf "%s\\n" "$r" "$b" "$h"'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """What it is called now and at boot, and whether it knows the wanted name itself."""
    found = {}
    for section in sections:
        running, boot, hosts = (*section.lines, "", "", "")[:3]
        knows = section.words[0] in hosts.split()
        fields = {"running": running, "boot": boot, "hosts": knows}
        found[section.words[0]] = Thing(fields=fields)
    return found


def compare(name: str, view: View) -> Change | Blocker | None:
    """Give it its name."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """Never planned: a host always has a name."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:  # noqa: ARG001
    """One."""
    return [Step((change,), _script(name_of(change))) for change in changes]


def _script(name: str) -> str:
    quoted, short = quote(name), name.split(".", 1)[0]
    names = name if short == name else f"{name} {short}"
    return (
        f"for f in /etc/hostname /proc/sys/kernel/hostname; do echo {quoted} >$f; done\n"
        "[ -e /etc/hosts ] || echo '127.0.0.1 localhost' >/etc/hosts\n"
        "awk '$1 != \"127.0.1.1\"' /etc/hosts >/etc/hosts.strata-new\n"
        f"printf '127.0.1.1\\t%s\\n' {quote(names)} >>/etc/hosts.strata-new\n"
        "chmod 644 /etc/hosts.strata-new\n"
        # in a container /etc/hosts is a mount: it can be written, not replaced
        "cat /etc/hosts.strata-new >/etc/hosts; rm -f /etc/hosts.strata-new"
    )

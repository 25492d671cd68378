"""Packages of the Debian family: how to look, install and remove. The one place that knows apt."""

from __future__ import annotations

from collections.abc import Sequence

from layers.l3_system.kinds.kind import quote

PROBE = (
    "if command -v dpkg-query >/dev/null; then\n"
    "  [ $# = 0 ] || dpkg-query -W -f '${Package}\\t${db:Status-Abbrev}\\t${Version}\\n' -- \"$@\" "
    "2>/dev/null\n"
    "else mark package unknown; fi"
)

_STATES = {
    "n": "",
    "c": "",
    "i": "installed",
    "H": "half-installed",
    "U": "unpacked",
    "F": "half-configured",
    "W": "awaiting triggers",
    "t": "installed",
}

# The first attempt goes by the lists that are there: fetching them costs more than most installs.
# What it says is kept back, as the second attempt says it again.
_APT = """export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -y -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; }
[ -z "$(ls -A /var/lib/dpkg/updates 2>/dev/null)" ] || dpkg --configure -a
"""


def state(abbreviation: str) -> str:
    """``"installed"``, a half-way state in words, or ``""`` from dpkg's two or three letters."""
    return _STATES.get(abbreviation[1:2], "")


def install(names: Sequence[str]) -> str:
    """Shell that installs all of them in one transaction, removing nothing."""
    line = f"apt --no-install-recommends --no-remove install -- {quote(*names)} </dev/null"
    return (
        f"{_APT}for l in /var/lib/apt/lists/*_Packages*; do break; done\n"
        f'[ -e "$l" ] && {line} >/dev/null 2>&1 || {{ apt update </dev/null; {line}; }}'
    )


def remove(names: Sequence[str]) -> str:
    """Shell that removes those that nothing else needs; the others are left to apt's own care."""
    return (
        f"{_APT}set -- {quote(*names)}; gone=\n"
        'for p in "$@"; do\n'
        '  alone=$(apt-get -s remove "$p" 2>/dev/null | sed -n "s/^Remv \\([^ :]*\\).*/\\1/p")\n'
        "  dragged=\n"
        '  for o in $alone; do case " $* " in *" $o "*) ;; *) dragged=$o ;; esac; done\n'
        '  if [ -n "$dragged" ]; then apt-mark auto "$p" >/dev/null; else gone="$gone $p"; fi\n'
        "done\n"
        '[ -z "$gone" ] || apt remove -- $gone </dev/null'
    )

"""Packages of the Debian family: how to look, install and remove. The one place that knows apt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from layers.l3_system.kinds import apt_script
from layers.l3_system.kinds.family import Work
from layers.l3_system.kinds.kind import Section, quote
from layers.l3_system.spec import Thing
from layers.l3_system.spec.types import DATABASE

READY = apt_script.READY
_WHOLE = {"installed", "config-files", "not-installed"}
_STATES = {"config-files": "removed", "triggers-pending": "installed"}
_POLICY = re.compile(r"^ (?:\*\*\*|   ) (\S+) -?\d+$")

# dpkg's own record is read once, for the asked packages and for anything half-way: dpkg-query
# would be a second process. What is on offer is worked out only if something is missing, and only
# from a cache that is there: looking writes nothing.
_PROBE = r"""if [ ! -r /var/lib/dpkg/status ]; then mark package unknown
elif [ $# != 0 ]; then
  mark package dpkg "$@"
  found=$(awk -v names=" $* " -v asked=ASKED '
    function end() {
      if (p != "") {
        split(s, w, " "); here = index(names, " " p " ") || index(names, " " p ":" a " ")
        if (here || p == "dpkg" || w[3] !~ /^(installed|config-files|not-installed)$/)
          printf "%s\t%s\t%s\t%s\n", p, a, s, v
        if (w[3] == "installed") have[p] = have[p ":" a] = v
      }
      p = s = a = v = ""
    }
    /^Package: / { end(); p = $2 }
    /^Status: / { s = $2 " " $3 " " $4 }
    /^Architecture: / { a = $2 }
    /^Version: / { v = $2 }
    END {
      end(); n = split(asked, q, " ")
      for (i = 1; i <= n; i++) {
        split(q[i], t, "=")
        if (!(t[1] in have) || have[t[1]] !~ t[2]) lack = lack " " t[1]
      }
      if (lack != "") print "?" lack
    }' /var/lib/dpkg/status)
  printf '%s\n' "$found"
  set -- /var/lib/dpkg/updates/[0-9]*; [ ! -e "$1" ] || echo '!'
  case $found in *'?'*)
    c=/var/cache/apt; o=-oDir::Cache::pkgcache=
    if [ $c/srcpkgcache.bin -nt /var/lib/apt/lists ]; then
      [ ! $c/pkgcache.bin -nt /var/lib/dpkg/status ] || o=-q  # whole: nothing is worked out anew
      mark package offers
      LC_ALL=C apt-cache $o policy ${found##*\?} 2>/dev/null
    fi ;;
  esac
fi"""


def probe(asked: Mapping[str, str]) -> str:
    """One awk; one apt-cache where something is missing."""
    words = " ".join(f"{name}={_expression(version)}" for name, version in asked.items())
    return _PROBE.replace("ASKED", quote(words))


def _expression(version: str) -> str:
    """The regular expression of a version with ``*`` and ``?``, without any backslash."""
    special = {"*": ".*", "?": "."}
    return "".join(special.get(c, c if c.isalnum() else f"[{c}]") for c in version or "*").join(
        "^$"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Declared packages, and what dpkg has not finished."""
    found: dict[str, Thing] = {}
    broken: dict[str, str] = {}
    offers: dict[str, list[str]] = {}
    for section in sections:
        if section.words[0] == "unknown":
            return {"": Thing(facts={"unknown": True})}
        if section.words[0] == "offers":
            offers = _offers(section.lines)
            continue
        rows = [line.split("\t") for line in section.lines if "\t" in line]
        if "!" in section.lines:
            broken["dpkg"] = "interrupted"
        # dpkg itself is always of the host's own architecture
        native = {arch for name, arch, _, _ in rows if name == "dpkg"} | {"all"}
        for name, arch, status, version in rows:
            want, _, state = status.split(" ")
            if state not in _WHOLE:
                broken[name] = state
            thing = Thing(
                fields={"state": _STATES.get(state, state)},
                facts={"version": version, "hold": want == "hold"},
            )
            names = {f"{name}:{arch}", *([name] if arch in native else [])}
            if state != "not-installed":
                found |= dict.fromkeys(names & set(section.words[1:]), thing)
    state = ", ".join(f"{name} {state}" for name, state in sorted(broken.items())) or "whole"
    if sections:
        found[DATABASE] = Thing(fields={"state": state}, facts={"offers": offers})
    return found


def _offers(lines: Sequence[str]) -> dict[str, list[str]]:
    """Package to versions of ``apt-cache policy``: the candidate, then the others, newest first."""
    offers: dict[str, list[str]] = {}
    name = ""
    for line in lines:
        match = _POLICY.match(line)
        if match:
            offers[name].append(match[1])
        elif line.startswith("  Candidate: ") and not line.endswith("(none)"):
            offers[name].append(line.removeprefix("  Candidate: "))
        elif line[:1].strip():
            name = line.rstrip(":")
            offers[name] = []
    return offers


def carry_out(work: Work) -> str:
    """By the lists that are there, where they fit the sources; otherwise after an update."""
    wanted = [f"{name}={version}" if version else name for name, version in work.come.items()]
    return "\n".join(
        [
            apt_script.FUNCTIONS,
            *([apt_script.REPAIR] if work.repair else []),
            apt_script.NARROW,
            apt_script.TRANSACTION,
            *_variables(wanted=wanted, go=work.go, fade=work.fade, purge=work.purge),
            *_variables(hold=work.hold, unhold=work.unhold),
            "transaction",
        ]
    )


def _variables(**lists: Sequence[str]) -> Iterator[str]:
    return (f"{name}={quote(' '.join(words))}" for name, words in lists.items())

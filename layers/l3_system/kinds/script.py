"""The shell that surrounds the kinds' fragments: marks between answers, and the ledger.

The ledger ``/var/lib/strata/owned`` has a line a thing: ``+ TAB thing TAB how``, appended before
the thing is made, so that a crash never leaves something of ours unrecorded. ``how`` is ``made``,
or ``found`` and what the thing was like before. A line ``- TAB thing`` takes it back; the last
line of a thing counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from layers.l3_system.kinds.kind import Section, Step

_COMMON = """nl='
'; tab='	'; lib=/var/lib/strata
show() { while IFS= read -r l || [ -n "$l" ]; do printf '%s%s\\n' "$2" "$l"; done <"$1"; }
mark() { printf '\\n%s' "$nonce"; printf '\\t%s' "$@"; printf '\\n'; }
"""

_LEDGER = """mark ledger
if [ -r $lib/owned ]; then
  while IFS="$tab" read -r sign thing how; do
    printf '%s\\t%s\\t%s\\n' "$sign" "$thing" "$how"
    kind=${thing%% *}
    case $sign$kind in +*[!a-z]*) ;; +*)
      eval "own_$kind=\\"\\$own_$kind\\$nl\\${thing#* }\\"" ;; esac
  done <$lib/owned
fi
"""

# What the kinds call besides the shell's own words; looking for them spawns nothing.
_TOOLS = """for c in awk grep head sed sha256sum stat; do
  command -v $c >/dev/null 2>&1 || mark lacks $c
done
"""

_APPLY = """own() {
  [ -d $lib ] || mkdir -p -m 700 $lib
  [ -z "$(how "$1")" ] || return 0
  printf '+\\t%s\\t%s\\n' "$1" "$2" >>$lib/owned; sync $lib/owned 2>/dev/null || sync
}
disown() { printf '%s\\t%s\\t\\n' - "$1" >>$lib/owned; }
how() {
  [ -r $lib/owned ] || return 0
  last=; while IFS="$tab" read -r sign thing note; do
    [ "$thing" != "$1" ] || case $sign in +) last=$note ;; *) last= ;; esac
  done <$lib/owned
  printf '%s' "$last"
}
take() {
  if [ "$2" = 0 ]; then : >"$1"; return; fi
  dd bs="$2" count=1 iflag=fullblock of="$1" 2>/dev/null
}
fstab() {
  [ -e /etc/fstab ] || : >/etc/fstab
  awk -v at="$1" '/^[ \\t]*#/ || $2 != at' /etc/fstab >/etc/fstab.strata-new
  [ -z "$2" ] || printf '%s\\n' "$2" >>/etc/fstab.strata-new
  chmod 644 /etc/fstab.strata-new; mv -f /etc/fstab.strata-new /etc/fstab
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
}
"""

# Only things that are still ours stay: one line each, however often they were written.
_COMPACT = """if [ -s $lib/owned ]; then
  awk -F '\\t' '{ if (!($2 in last)) order[++n] = $2; last[$2] = $0 }
    END { for (i = 1; i <= n; i++) if (last[order[i]] ~ /^\\+/) print last[order[i]] }' \
    $lib/owned >$lib/owned.new && mv -f $lib/owned.new $lib/owned
fi
"""


def probing(nonce: str, fragments: Sequence[str]) -> str:
    """One script of all fragments. ``nonce`` must not occur in any answer."""
    return f"nonce={nonce}\n{_COMMON}{_TOOLS}{_LEDGER}" + "\n".join(
        [*fragments, "mark end", "exit 0\n"]
    )


def applying(nonce: str, steps: Sequence[Step]) -> tuple[str, bytes]:
    """One script of all steps and what it reads; it stops at the first that fails."""
    pieces = [f"nonce={nonce}\n{_COMMON}{_APPLY}"]
    for index, step in enumerate(steps):
        # not in a condition: there the shell would ignore -e
        pieces.append(
            f"( set -e\n{step.script}\n) >&2\nr=$?; [ $r = 0 ] || exit $r; mark done {index}\n"
        )
    pieces.append(_COMPACT)
    return "".join(pieces), b"".join(step.stdin for step in steps)


def sections(nonce: str, answer: bytes) -> list[tuple[str, Section]]:
    """The marked parts of an answer, in order: the first word of each and the rest of it."""
    found = []
    for piece in answer.split(f"\n{nonce}\t".encode())[1:]:
        head, _, body = piece.partition(b"\n")
        first, *words = head.decode(errors="replace").split("\t")
        found.append((first, Section(tuple(words), body)))
    return found


def ledger(lines: Sequence[str]) -> dict[str, str]:
    """What is ours, from the ledger's lines; a torn line is ignored."""
    owned: dict[str, str] = {}
    for line in lines:
        sign, _, rest = line.partition("\t")
        thing, _, how = rest.partition("\t")
        if sign == "+" and thing:
            owned[thing] = how
        elif sign == "-":
            owned.pop(thing, None)
    return owned

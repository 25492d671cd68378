"""The shell that surrounds the kinds' fragments: marks between answers, and the ledger.

The ledger ``/var/lib/strata/owned`` has a line a thing: ``+ TAB thing TAB how``, appended before
the thing is made, so that a crash never leaves something of ours unrecorded. ``how`` is ``made``,
or ``found`` and what the thing was like before. A line ``- TAB thing`` takes it back; the last
line of a thing counts.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from layers.l3_system.kinds.kind import Section, Step, quote

_COMMON = """nl='
'; tab='	'; lib=/var/lib/strata
show() { while IFS= read -r l || [ -n "$l" ]; do printf '%s%s\\n' "$2" "$l"; done <"$1"; }
mark() { printf '\\n%s' "$nonce"; printf '\\t%s' "$@"; printf '\\n'; }
besides() { o=$1; shift; d="$nl$*$nl"; x=
  for n in $o; do case $d in *"$nl$n$nl"*) ;; *) x="$x$nl$n" ;; esac; done; }
"""

_LEDGER = """mark ledger
if [ -r $lib/owned ]; then
  while IFS="$tab" read -r sign thing how; do
    printf '%s\\t%s\\t%s\\n' "$sign" "$thing" "$how"
    kind=${thing%% *}
    case $sign$kind in +*[!a-z_]*) ;; +*)
      eval "own_$kind=\\"\\$own_$kind\\$nl\\${thing#* }\\"" ;; esac
  done <$lib/owned
fi
"""

_COMMIT = "mark commit\n[ ! -r $lib/commit ] || show $lib/commit ''\n"

# What the kinds call besides the shell's own words; looking for them spawns nothing.
_TOOLS = """for c in awk grep head sed sha256sum stat; do
  command -v $c >/dev/null 2>&1 || mark lacks $c
done
"""

# take PATH SIZE: that much of standard input into a new file, all of it or an error.
# beside PATH: `$new` is what will take its place; it and new folders go again if the step fails.
# place PATH [OWNER MODE]: `$new` takes its place; a file that is a mount (in containers) is filled.
# verified FILE NAME [TIME…]: would systemd take it as that unit's file, or as that drop-in?
# keep THING PATH, restore PATH: what was there before us. fstab WHERE LINE [COLUMN of WHERE].
# intend STEP THING PATH: for all steps in one go, as each flush of the ledger takes its time;
# `unreached STEP` takes back what later steps would have made, and what that one did not get to.
# `$ours` is what was ours at the start; what a step owned since is looked up in the ledger.
_APPLY = """reread() {
  ours=$nl$([ ! -s $lib/owned ] || awk -F '\\t' '$1 == "+" { l[$2] = 1 } $1 == "-" { delete l[$2] }
    END { for (t in l) print t }' $lib/owned)$nl
}
record() {
  [ -d $lib ] || mkdir -p -m 700 $lib
  printf '\\n%s\\t%s\\t%s\\n' "$@" >>$lib/owned
}
own() {
  case $ours in *"$nl$1$nl"*) return 0 ;; esac
  [ -z "$(how "$1")" ] || return 0
  record + "$1" "$2"; flush
}
flush() { sync $lib/owned 2>/dev/null || sync; }
disown() { record - "$1" ''; }
intend() {
  case $ours in *"$nl$2$nl"*) return 0 ;; esac
  if [ -n "$3" ] && { [ -e "$3" ] || [ -L "$3" ]; }; then return 0; fi
  record + "$2" made || exit 1; ours=$ours$2$nl; intended=$intended$1:${3:+at}:$2$nl
}
unreached() {
  while IFS=: read -r step at thing; do
    d=${thing#* }
    if [ "${step:--1}" -gt "$1" ]; then record - "$thing" ''
    elif [ "$step" = "$1" ] && [ "$at" ] && ! [ -e "$d" ] && ! [ -L "$d" ]; then
      record - "$thing" ''
    fi
  done <<EOT
$intended
EOT
}
how() {
  [ -r $lib/owned ] || return 0
  last=; while IFS="$tab" read -r sign thing note; do
    [ "$thing" != "$1" ] || case $sign in +) last=$note ;; *) last= ;; esac
  done <$lib/owned
  printf '%s' "$last"
}
take() {
  if [ "$2" = 0 ]; then : >"$1"; return; fi
  said=$( { exec dd bs="$2" count=1 iflag=fullblock >"$1"; } 2>&1 ) || {
    said=$(printf '%s\\n' "$said" | grep -v -e ' records ' -e ' copied' | tail -n 1)
    echo "cannot write ${1%.strata-new}: ${said##*: }"; return 1; }
  case $said in *'1+0 records in'*) return ;; esac
  echo "${1%.strata-new} did not arrive whole"; return 1
}
beside() {
  new=$1.strata-new; top=; d=${1%/*}
  while [ -n "$d" ] && [ ! -d "$d" ]; do top=$d; d=${d%/*}; done
  trap 'rm -rf "$new"; d=${new%/*}; while [ -n "$top" ] && rmdir "$d" 2>/dev/null; do
    [ "$d" != "$top" ] || break; d=${d%/*}; done' EXIT
  [ -z "$top" ] || mkdir -p "${1%/*}/"
  if [ -e "$new" ] || [ -L "$new" ]; then rm -rf "$new"; fi
}
place() {
  if [ -f "$1" ] && grep -qF " $1 " /proc/self/mounts; then
    cat "$new" >"$1"; [ -z "$2" ] || { chown "$2" "$1"; chmod "$3" "$1"; }; rm -f "$new"
  else
    if [ -d "$1" ]; then [ ! -L "$1" ] || rm -f "$1"; fi
    if [ -d "$1" ]; then echo "$1 is a directory"; exit 1; fi
    mv -f "$new" "$1"
  fi
  trap - EXIT
}
keep() {
  case $ours in *"$nl$1$nl"*) return 0 ;; esac
  [ -z "$(how "$1")" ] || return 0
  old=$lib/originals$2
  if [ -e "$2" ] || [ -L "$2" ]; then
    mkdir -p -m 700 $lib/originals; mkdir -p "${old%/*}"
    rm -rf "$old"; cp -a "$2" "$old"; own "$1" found
  else own "$1" made; fi
}
restore() {
  old=$lib/originals$1
  if [ -e "$old" ] || [ -L "$old" ]; then
    beside "$1"; cp -a "$old" "$new"; place "$1" '' ''; rm -rf "$old"
  fi
}
verified() {
  command -v systemd-analyze >/dev/null || return 0
  at=$(mktemp -d); trap 'rm -rf "$at"' EXIT; unit=${2%.d/*}
  case $2 in */*)
    whole=$(systemctl show -p FragmentPath -- "$unit"); whole=${whole#*=}
    [ -f "$whole" ] || return 0
    cp "$whole" "$at/$unit"; mkdir "$at/$unit.d" ;; esac
  cp "$1" "$at/$2"; shift 2
  for time in "$@"; do systemd-analyze calendar "$time" >/dev/null || return 1; done
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$at/$unit" 2>&1) && return
  case $said in *unrecognized*) systemd-analyze verify --man=no "$at/$unit"; return ;; esac
  printf '%s\\n' "$said"; return 1
}
fstab() {
  [ -e /etc/fstab ] || : >/etc/fstab
  rest=$(at=$1 column=${3:-2} awk '/^[ \\t]*#/ || $ENVIRON["column"] != ENVIRON["at"]' /etc/fstab)
  printf '%s\\n' "$rest" ${2:+"$2"} >/etc/fstab.strata-new
  chmod 644 /etc/fstab.strata-new; mv -f /etc/fstab.strata-new /etc/fstab
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
}
"""

# Only things that are still ours stay: one line each, however often they were written. What awk
# says goes through printf, as not every awk tells of a full disk.
_COMPACT = """compact() {
  if [ -s $lib/owned ]; then
    rest=$(awk -F '\\t' '{ if (!($2 in last)) order[++n] = $2; last[$2] = $0 }
      END { for (i = 1; i <= n; i++) if (last[order[i]] ~ /^\\+/) print last[order[i]] }' \
      $lib/owned) && printf '%s\\n' "$rest" >$lib/owned.new && mv -f $lib/owned.new $lib/owned || :
  fi
}
"""


def probing(nonce: str, fragments: Sequence[str]) -> str:
    """One script of all fragments. ``nonce`` must not occur in any answer."""
    return f"nonce={nonce}\n{_COMMON}{_TOOLS}{_LEDGER}{_COMMIT}" + "\n".join(
        [*fragments, "mark end", "exit 0\n"]
    )


def applying(nonce: str, steps: Sequence[Step]) -> tuple[str, bytes]:
    """One script of all steps and what it reads; it stops at the first that fails."""
    pieces = [f"nonce={nonce}\n{_COMMON}{_APPLY}{_COMPACT}reread; intended=$nl\n"]
    made = [(i, thing, path) for i, step in enumerate(steps) for thing, path in step.makes]
    pieces += [f"intend {i} {shlex.quote(t)} {shlex.quote(p)}\n" for i, t, p in made]
    if made:
        pieces.append('[ "$intended" = "$nl" ] || flush\n')
    for index, step in enumerate(steps):
        # not in a condition: there the shell would ignore -e
        pieces.append(
            f"( set -e\n{step.script}\n) >&2\n"
            f"r=$?; [ $r = 0 ] || {{ {{ unreached {index}; compact; }} 2>/dev/null; exit $r; }}\n"
            f"mark done {index}\n"
        )
        if "disown" in step.script and index + 1 < len(steps):
            pieces.append("reread\n")
    pieces.append("compact\n")
    return "".join(pieces), b"".join(step.stdin for step in steps)


def remembering(commit: str, run: str, at: str) -> str:
    """A script that writes down what the host was brought to, whole or not at all."""
    lines = " ".join(quote(f"{k}={v}") for k, v in (("commit", commit), ("run", run), ("at", at)))
    return f"""umask 077; lib=/var/lib/strata; [ -d $lib ] || mkdir -p -m 700 $lib
printf '%s\\n' {lines} >$lib/commit.new || exit 1
sync $lib/commit.new 2>/dev/null || sync
mv -f $lib/commit.new $lib/commit
"""


def remembered(lines: Sequence[str]) -> str | None:
    """The commit in what :func:`remembering` wrote; ``None`` where nothing of it can be read."""
    return next((li.removeprefix("commit=") for li in lines if li.startswith("commit=")), None)


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

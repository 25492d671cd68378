"""Repositories of the Debian family: a deb822 file, its key, and lists that were really fetched.

A repository that cannot be used (unreachable, not signed by its key) never counts: the one that was
there before comes back, or none, so that every other repository goes on working.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds import apt, apt_script
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
from layers.l3_system.spec.repository import Repository, is_armored

NAME = "repository"
_SOURCES = "/etc/apt/sources.list.d"
_KEYS = "/etc/apt/keyrings"
_DEADLINE = 900.0
_SUFFIXES = ("asc", "gpg")

# The three files of a repository, what was there before us, and what last worked.
_FUNCTIONS = r"""files="/etc/apt/sources.list.d/$name.sources
/etc/apt/keyrings/$name.asc /etc/apt/keyrings/$name.gpg"
state=$lib/repositories/$name
copy() {  # FROM-PREFIX TO-PREFIX: all three as they are there, and none that is not
  for f in $files; do
    rm -f "$2$f"
    if [ -e "$1$f" ] || [ -L "$1$f" ]; then mkdir -p "$2${f%/*}"; cp -a "$1$f" "$2$f"; fi
  done
}
"""
_KEEP = r"""mkdir -p -m 700 $lib; mkdir -p $state/before $state/worked /etc/apt/keyrings
if [ -z "$(how "repository $name")" ]; then
  was=made; for f in $files; do [ ! -e "$f" ] || was=found; done
  copy "" $state/before; copy "" $state/worked; own "repository $name" $was
fi
rm -f $state/fetched
case $uris in *https://*) if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  said=$(apt --no-remove install ca-certificates 2>&1) ||
    { refresh || :; said=$(apt --no-remove install ca-certificates 2>&1); } || why "$said
$news"
fi ;; esac
"""
_FETCH = r"""fetch() {
  patient apt-get indextargets &&
  patient apt-get -q -o DPkg::Lock::Timeout=600 -o APT::Update::Error-Mode=any \
    -o APT::Get::List-Cleanup=0 -o Dir::Etc::sourcelist=$source -o Dir::Etc::sourceparts=/dev/null \
    update || return 1
  case "$nl$said" in *"${nl}W: Failed to fetch"*) return 1 ;; esac
}
source=/etc/apt/sources.list.d/$name.sources
if fetch; then copy "" $state/worked; touch $state/fetched $state/worked/fetched; else
  copy $state/worked ""
  [ ! -e $state/worked/fetched ] || touch $state/fetched
  why "$said"
fi
"""
_PRUNE = r"""if [ -d $state ]; then copy $state/before ""; else rm -f $files; fi
rm -rf $state; news=; refresh || :
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared repositories, as the file that tells of each."""
    out = {}
    for name, repository in spec.repositories.items():
        key = repository.key.content if repository.key else b""
        text = sources(name, repository)
        fields = {"sources": _digest(text.encode()), "key": _digest(key), "fetched": True}
        out[name] = Wanted(
            fields, content=text.encode(), more={"key": key, "uris": repository.uris}
        )
    return out


def _digest(content: bytes) -> str | None:
    return hashlib.sha256(content).hexdigest() if content else None


def sources(name: str, repository: Repository) -> str:
    """The text of the file, in deb822 form (sources.list(5))."""
    lines = {
        "Types": repository.types,
        "URIs": repository.uris,
        "Suites": repository.suites,
        "Components": repository.components,
        "Architectures": repository.architectures,
        "Signed-By": _signed_by(name, repository),
        "Trusted": () if repository.signed else ("yes",),
    }
    return "".join(f"{field}: {' '.join(words)}\n" for field, words in lines.items() if words)


def _signed_by(name: str, repository: Repository) -> tuple[str, ...]:
    if repository.key is not None:
        suffix = "asc" if is_armored(repository.key.content) else "gpg"
        return (f"{_KEYS}/{name}.{suffix}",)
    return () if repository.keyring is None else (repository.keyring,)


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One sha256sum for the keys; the sources are short, the shell reads them by itself."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n  k=\n"
        '  for n in "$@"; do\n'
        f"    f={_SOURCES}/$n.sources\n"
        f'    [ ! -f "$f" ] || {{ mark {NAME} sources "$n"; show "$f"; }}\n'
        f"    s=$lib/repositories/$n/fetched\n"
        f'    if [ -e "$s" ] && [ ! "$f" -nt "$s" ]; then mark {NAME} fetched "$n"; fi\n'
        f'    for e in {" ".join(_SUFFIXES)}; do [ ! -f "{_KEYS}/$n.$e" ] || '
        f'k="$k {_KEYS}/$n.$e"; done\n'
        "  done\n"
        f'  [ -z "$k" ] || {{ mark {NAME} keys; sha256sum -- $k 2>/dev/null; }}\nfi'
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """The file's digest and text, the key's digest, and whether its lists were fetched since."""
    keys: dict[str, str] = {}
    texts: dict[str, str] = {}
    fetched: set[str] = set()
    for section in sections:
        if section.words[0] == "sources":
            texts[section.words[1]] = section.body.decode(errors="replace")
        elif section.words[0] == "fetched":
            fetched.add(section.words[1])
        else:
            for line in section.lines:
                digest, _, path = line.partition("  ")
                keys[path.removeprefix(f"{_KEYS}/").rpartition(".")[0]] = digest
    return {
        name: Thing(
            fields={
                "sources": _digest(text.encode()),
                "key": keys.get(name),
                "fetched": name in fetched,
            },
            facts={"text": text},
        )
        for name, text in texts.items()
    }


def compare(name: str, view: View) -> Change | Blocker | None:
    """Write it, showing the lines; or fetch what a crash left unfetched."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    before = found.fields if found else {}
    diffs = [
        FieldDiff(f, before.get(f), v, text=_diff(name, wanted, found) if f == "sources" else "")
        for f, v in wanted.fields.items()
        if before.get(f) != v
    ]
    if not diffs:
        return None
    action = Action.UPDATE if found else Action.CREATE
    return Change(action, f"{NAME} {name}", tuple(diffs))


def _diff(name: str, wanted: Wanted, found: Thing | None) -> str:
    path = f"{_SOURCES}/{name}.sources"
    before = str(found.facts.get("text", "")) if found else ""
    lines = difflib.unified_diff(
        before.splitlines(),
        wanted.content.decode().splitlines(),
        f"{path} (there)",
        f"{path} (wanted)",
        lineterm="",
    )
    return "\n".join(lines)


def prune(name: str, view: View) -> Change:
    """Remove it with its key; or put back the one that was there before us."""
    if view.found(NAME, name) is not None and is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason="no longer declared; the one that was there before comes back",
        )
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a repository, so that the one that fails is named and those before it count."""
    return [_step(change, wanted.get(name_of(change))) for change in changes]


def _step(change: Change, wanted: Wanted | None) -> Step:
    name = name_of(change)
    head = [apt_script.FUNCTIONS, f"name={quote(name)}; news=", _FUNCTIONS]
    if wanted is None:
        script = "\n".join([*head, f"{_PRUNE}disown {quote(change.what)}"])
        return Step((change,), script, deadline=_DEADLINE, ready=apt.READY)
    text, key = wanted.content, bytes(wanted.more["key"])
    lines = [*head, f"uris={quote(' '.join(wanted.more['uris']))}", _KEEP]
    if key:
        suffix, other = _SUFFIXES if is_armored(key) else reversed(_SUFFIXES)
        lines += [_written(f"{_KEYS}/{name}.{suffix}", key), f"rm -f {_KEYS}/{name}.{other}"]
    else:
        lines.append(f"rm -f {_KEYS}/{name}.asc {_KEYS}/{name}.gpg")
    lines += [_written(f"{_SOURCES}/{name}.sources", text), _FETCH]
    return Step((change,), "\n".join(lines), key + text, deadline=_DEADLINE, ready=apt.READY)


def _written(path: str, content: bytes) -> str:
    new = f"{path}.strata-new"
    return f"rm -f {new}; take {new} {len(content)}; chmod 644 {new}; mv -f {new} {path}"

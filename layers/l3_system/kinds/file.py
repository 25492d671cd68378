"""Files: content, mode, owner. A file that was there before is kept and comes back at the end."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from layers.l3_system.kinds import template
from layers.l3_system.kinds.directory import STAT, stats
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
from layers.l3_system.spec import FileSpec, Spec, Thing

NAME = "file"
_SHOWN = 65536  # bytes of a changed file that travel, so that the plan can show what differs

_KEEP = """old=$lib/originals$1
if [ -z "$(how "file $1")" ]; then
  if [ -e "$1" ] || [ -L "$1" ]; then
    mkdir -p -m 700 $lib/originals; mkdir -p "${old%/*}"
    rm -rf "$old"; cp -a "$1" "$old"; own "file $1" found
  else own "file $1" made; fi
fi
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:
    """Declared files; a template that does not render raises ValueError."""
    out = {}
    for path, file in spec.files.items():
        content = _content(file, place)
        fields = {
            "content": template.digest(content),
            "mode": file.mode,
            "owner": file.owner,
            "group": file.group,
        }
        out[path] = Wanted(fields, content=content, check=file.validate_with or "")
    return out


def _content(file: FileSpec, place: Place) -> bytes:
    if file.template is not None:
        return template.render(file.template.text, place).encode()
    if file.source is not None:
        return file.source.content
    return (file.content or "").encode()


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat, one sha256sum; the text only of files whose digest is not the wanted one."""
    same = "\n".join(f"{w.fields['content']}  {path}" for path, w in wanted.items())
    return (
        f"{operands(NAME, wanted)}\n"
        "if [ $# != 0 ]; then\n"
        f'  mark file stat; {STAT} -- "$@" 2>/dev/null\n'
        '  mark file digest; d=$(sha256sum -- "$@" 2>/dev/null); printf "%s\\n" "$d"\n'
        f"  w={quote(same)}\n"
        '  while IFS= read -r l; do case "$nl$w$nl" in *"$nl$l$nl"*) ;; *) p=${l#*  }\n'
        f'    [ ! -f "$p" ] || {{ mark file text "$p"; head -c {_SHOWN} -- "$p"; }} ;; esac\n'
        "  done <<EOT\n$d\nEOT\nfi"
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Digest, mode and owner; the text of those that differ."""
    parts = {s.words[0]: s.lines for s in sections if s.words[0] != "text"}
    texts = {s.words[1]: s.body for s in sections if s.words[0] == "text"}
    pairs = (line.partition("  ") for line in parts.get("digest", ()))
    digests = {path: digest for digest, _, path in pairs}
    found = {}
    for path, thing in stats(parts.get("stat", ())):
        facts = dict(thing.facts)
        text = _text(texts.get(path), facts["size"])
        if text is not None:
            facts["text"] = text
        found[path] = Thing(fields={"content": digests.get(path), **thing.fields}, facts=facts)
    return found


def _text(content: bytes | None, size: int) -> str | None:
    if content is None or len(content) != size or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def compare(name: str, view: View) -> Change | Blocker | None:
    """Write it, or change what differs, showing the lines."""
    wanted, found = view.wanted[NAME][name], view.found(NAME, name)
    kind = found.facts.get("kind", NAME) if found else NAME
    if kind == "directory":
        return Blocker(f"file {name}", "a directory is in its place", f"move {name} away")
    before = found.fields if found else {}
    diffs = [
        FieldDiff(f, before.get(f), v, text=_diff(name, wanted, found) if f == "content" else "")
        for f, v in wanted.fields.items()
        if before.get(f) != v
    ]
    if kind != NAME:
        diffs.append(FieldDiff("kind", kind, NAME))
    if not diffs:
        return None
    action = Action.UPDATE if found else Action.CREATE
    return Change(action, f"{NAME} {name}", tuple(diffs))


def _diff(path: str, wanted: Wanted, found: Thing | None) -> str:
    before = found.facts.get("text") if found else ""
    after = _text(wanted.content, len(wanted.content))
    if before is None or after is None:
        return ""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} (there)", f"{path} (wanted)", lineterm=""
    )
    return "\n".join(lines)


def prune(name: str, view: View) -> Change:
    """Remove it; or put back the one that was there before us."""
    if view.found(NAME, name) is not None and is_found(NAME, name, view):
        return Change(
            Action.UPDATE,
            f"{NAME} {name}",
            reason="no longer declared; the file that was there before comes back",
        )
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """One a file; the content comes on standard input."""
    return [_step(change, wanted.get(name_of(change))) for change in changes]


def _step(change: Change, wanted: Wanted | None) -> Step:
    path, thing = quote(name_of(change)), quote(change.what)
    if wanted is None:
        gone = f"rm -f {path}"
        if change.action is Action.UPDATE:
            back = f"$lib/originals{path}"
            gone = f"[ ! -e {back} ] && [ ! -L {back} ] || mv -f {back} {path}"
        return Step((change,), f"{gone}\ndisown {thing}")
    mode, owner, group = (str(wanted.fields[f]) for f in ("mode", "owner", "group"))
    lines = [f"set -- {path}", _KEEP.rstrip()]
    content = b""
    if {d.field for d in change.fields} & {"content", "kind"}:
        content = wanted.content
        lines += [
            'new=$1.strata-new; mkdir -p "${1%/*}/"; rm -f "$new"',
            f'( umask 077; take "$new" {len(content)} )',
            f'chown {quote(f"{owner}:{group}")} "$new"; chmod {mode} "$new"',
        ]
        if wanted.check:
            lines.append(_checked(name_of(change), wanted.check))
        lines.append('mv -f "$new" "$1"')
    else:
        lines.append(f'chown {quote(f"{owner}:{group}")} "$1"; chmod {mode} "$1"')
    return Step((change,), "\n".join(lines), content)


def _checked(path: str, command: str) -> str:
    """The command says no: the new file goes, the old one stays."""
    refused = quote(f"{path} is refused by {command.split(maxsplit=1)[0]}: ")
    test = command.replace("%s", '"$new"')
    return (
        f"said=$( {test} 2>&1 ) || "
        '{ rm -f "$new"; printf \'%s\\n\' "$said"; '
        f"printf '%s%s\\n' {refused} \"$(printf '%s\\n' \"$said\" | head -n 1)\"; exit 1; }}"
    )

"""Files: content, mode, owner. A file that was there before is kept and comes back at the end."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change, FieldDiff
from lab.model.secret import Secret
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
    with_reload,
)
from layers.l3_system.spec import Spec, Thing
from layers.l3_system.spec.files import Origin

NAME = "file"
_SHOWN = 65536  # bytes of a changed file that travel, so that the plan can show what differs


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:
    """Declared files; a template that does not render raises ValueError."""
    out = {}
    for path, file in spec.files.items():
        content, secret = content_of(file, place)
        fields = {
            "content": template.digest(content),
            "mode": file.mode,
            "owner": file.owner,
            "group": file.group,
        }
        out[path] = Wanted(fields, content=content, secret=secret, check=file.validate_with or "")
    return out


def content_of(origin: Origin, place: Place, *, reveal: bool = True) -> tuple[bytes, bool]:
    """The bytes, and whether they hold a secret; without ``reveal`` only its name stands there."""
    if origin.template is not None:
        text = origin.template.text
        shown = template.revealed(text, place) if reveal else (template.render(text, place), False)
        return shown[0].encode(), shown[1]
    if origin.source is not None:
        return origin.source.content, False
    if isinstance(origin.content, Secret):
        return (origin.content.reveal() if reveal else str(origin.content)).encode(), True
    return (origin.content or "").encode(), False


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One stat, one sha256sum; the text only of files whose digest is not the wanted one."""
    same = "\n".join(f"{w.fields['content']}  {path}" for path, w in wanted.items())
    secret = "\n".join(path for path, w in wanted.items() if w.secret)
    return (
        f"{operands(NAME, wanted)}\n"
        "if [ $# != 0 ]; then\n"
        f'  mark file stat; {STAT} -- "$@" 2>/dev/null\n'
        '  mark file digest; d=$(sha256sum -- "$@" 2>/dev/null); printf "%s\\n" "$d"\n'
        f"  w={quote(same)}; h={quote(secret)}\n"
        '  [ "$d" = "$w" ] || while IFS= read -r l; do\n'
        '    case "$nl$w$nl" in *"$nl$l$nl"*) ;; *) p=${l#*  }\n'
        '    case "$nl$h$nl" in *"$nl$p$nl"*) continue ;; esac\n'
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
        FieldDiff(f, before.get(f), v)
        if f != "content"
        else FieldDiff(f, before.get(f), v, text=_diff(name, wanted, found), secret=wanted.secret)
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
    if before is None or after is None or wanted.secret:
        return ""
    return text_diff(path, before, after)


def text_diff(path: str, before: str, after: str) -> str:
    """What changes in a file, as a unified diff."""
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
    return with_reload([_step(change, wanted.get(name_of(change))) for change in changes])


def _step(change: Change, wanted: Wanted | None) -> Step:
    path, thing = quote(name_of(change)), quote(change.what)
    if wanted is None:
        gone = f"restore {path}" if change.action is Action.UPDATE else f"rm -f {path}"
        return Step((change,), f"{gone}\ndisown {thing}")
    mode, owner, group = (str(wanted.fields[f]) for f in ("mode", "owner", "group"))
    account, keep = quote(f"{owner}:{group}"), f"keep {thing} {path}"
    if not {d.field for d in change.fields} & {"content", "kind"}:
        return Step((change,), f"{keep}\nchown {account} {path}; chmod {mode} {path}")
    lines = [
        f"beside {path}",
        f'umask 077; set -C; take "$new" {len(wanted.content)}; set +C; umask 022',
        f'chown {account} "$new"; chmod {mode} "$new"',
        *([_checked(name_of(change), wanted.check)] if wanted.check else []),
        keep,
        f"place {path} {account} {mode}",
    ]
    # a check may refuse it: then nothing of it ever was ours
    makes = () if wanted.check else ((change.what, name_of(change)),)
    return Step((change,), "\n".join(lines), wanted.content, makes=makes)


def _checked(path: str, command: str) -> str:
    """The cause is the line that tells of an error, else the last; all lines stand above it."""
    run = command.replace("%s", quote(f"{path}.strata-new"))
    return (
        f"said=$( ( {run} ) </dev/null 2>&1 ) || {{ status=$?\n"
        "  printf '%s\\n' \"$said\"; all=$said\n"
        "  said=$(printf '%s\\n' \"$all\" | grep -i -m 1 -e error) ||\n"
        "    said=$(printf '%s\\n' \"$all\" | grep . | tail -n 1) || :\n"
        f"  printf '%s refuses it, and nothing was changed: %s\\n' {quote(command)} "
        '"${said:-status $status}"; exit 1; }'
    )

"""What is run on a host to capture it: pure, POSIX sh. Nothing is needed there but GNU tar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from lab.model import standing
from lab.model.dataset import DataSet

STILL = 300
"""Seconds for which nothing may move while a host's data is held still."""
_MARK = "strata-capture:"
_TORN = re.compile(
    r"^tar: (?P<path>.*): (?:file changed as we read it|File removed before we read it"
    r"|File shrank by \d+ bytes.*)$"
)
_NEVER = (".strata", "lost+found")
_TAR = (
    "tar -C / --format=posix --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"
    " --numeric-owner --sort=name --acls --xattrs --xattrs-include='user.*'"
    " --xattrs-include=security.capability --anchored --wildcards --no-wildcards-match-slash"
    " --warning=no-file-ignored -b 512"
)
# Runs `after` where nobody else did: the session ended, or nothing has moved for too long.
_GUARD = (
    "w=$1 main=$2 still=0 last=; while sleep 2; do "
    '[ ! -d "$w/done" ] || exit 0; kill -0 "$main" 2>/dev/null || break; '
    'now=$(grep -s ^wchar "/proc/$(cat "$w/tar" 2>/dev/null)/io"); '
    'if [ "$now" = "$last" ]; then still=$((still+2)); else still=0 last=$now; fi; '
    f'[ "$still" -lt {STILL} ] || break; done; '
    'mkdir "$w/done" 2>/dev/null || exit 0; '
    'p=$(cat "$w/tar" 2>/dev/null) && kill "$p" 2>/dev/null; "$3" "$w/after"; rm -rf "$w"'
)
# The shell of the user's commands: one where a pipe fails with any of its programs, unlike in dash.
_SHELL = "s=sh; (set -o pipefail) 2>/dev/null || s=$(command -v bash || echo sh)"
_STRICT = "set -e; (set -o pipefail) 2>/dev/null && set -o pipefail"


@dataclass(frozen=True, slots=True)
class Looked:
    """What is on the host before anything is captured.

    Attributes:
        tar: Its version; ``""``: there is no GNU tar.
        missing: Paths that do not exist.
        restoring: Paths that hold no proven data: a restore of them did not finish.
        size: About how many bytes there are.
        restic: Its version; ``()``: there is none.
    """

    tar: str
    missing: tuple[str, ...]
    restoring: tuple[str, ...]
    size: int
    restic: tuple[int, ...] = ()


def look(one: DataSet) -> str:
    """A script that tells :class:`Looked`."""
    lines = [standing.FUNCTIONS, 'echo "tar $(tar --version 2>/dev/null | head -n 1)"']
    lines.append('echo "restic $(command -v restic >/dev/null && restic version 2>/dev/null)"')
    for path in () if one.optional else one.paths:
        word = quote(path)
        lines.append(f'[ -e {word} ] || [ -L {word} ] || echo "missing "{word}')
    lines += [_restoring(path) for path in standing.path_of(one) if not one.optional]
    words = " ".join(one.paths if one.optional else map(quote, one.paths))
    if words:
        lines.append(f'echo "size $(du -skc {words} 2>/dev/null | tail -n 1 | cut -f 1)"')
    return "\n".join(lines)


def _restoring(path: str) -> str:
    """The mark of an unfinished restore lies on the filesystem that holds the data."""
    word, mark = quote(path), quote(f"{standing.MARK}/{standing.name_of(path)}.json")
    return (
        f'f=$(marks_of {word})/{mark}; [ ! -e "$f" ] || '
        f"""grep -qsF '"state": "complete"' "$f" || echo restoring {word}"""
    )


def looked(text: str) -> Looked:
    """What the script told."""
    said: dict[str, list[str]] = {"tar": [], "missing": [], "restoring": [], "size": []}
    found = re.search(r"^restic restic (\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    tar = (said["tar"] or [""])[0]
    size = (said["size"] or ["0"])[0]
    return Looked(
        tar=tar.rsplit(" ", 1)[-1] if "GNU tar" in tar else "",
        missing=tuple(said["missing"]),
        restoring=tuple(said["restoring"]),
        size=int(size) * 1024 if size.isdigit() else 0,
        restic=tuple(int(n or 0) for n in found.groups()) if found else (),
    )


def dump(one: DataSet) -> str:
    """A script whose output is the dump."""
    return _run(one, one.dump)


def restore(one: DataSet) -> str:
    """A script that reads a dump from its standard input, and puts it back."""
    return _run(one, one.restore)


def _run(one: DataSet, script: str) -> str:
    """The user's commands: the first that fails ends them, also inside a pipe."""
    return f"{_SHELL}\n$s -c {quote(_strictly(one, script))}\n"


def _strictly(one: DataSet, script: str) -> str:
    return f"{_setting(one)}\n{_STRICT}\n{script}\n"


def _setting(one: DataSet) -> str:
    """Where a command of the user runs, and what it finds there."""
    lines = [f"cd {quote(one.folder or '/')} || exit 90"]
    lines += (
        [f"COMPOSE_PROJECT_NAME={quote(one.workload)}; export COMPOSE_PROJECT_NAME"]
        if one.workload
        else []
    )
    return "\n".join(lines)


def files(one: DataSet) -> str:
    """A script whose output is an archive of the paths, held still while they are read."""
    words = [_TAR, *(f"--exclude={quote(p)}" for p in _excluded(one))]
    tar = " ".join([*words, "-cf -", "--", *(quote(p.lstrip("/") or ".") for p in one.paths)])
    if one.optional:
        expand = f'for p in {" ".join(one.paths)}; do [ -e "$p" ] && set -- "$@" "${{p#/}}"; done'
        tar = f'set --; {expand}; {" ".join(words)} -cf - -T /dev/null -- "$@"'
    if not one.quiesced:
        return f"{tar}\nr=$?; echo '{_MARK} tar' $r >&2; [ $r -le 1 ]\n"
    before, after = _strictly(one, one.before), f"{_setting(one)}\n{one.after}\n"
    return f"""\
{_SHELL}
w=$(mktemp -d /run/strata-capture-XXXXXX) || exit 92
printf %s {quote(before)} > "$w/before"
printf %s {quote(after)} > "$w/after"
once() {{
  mkdir "$w/done" 2>/dev/null || {{ echo '{_MARK} after was run by the guard' >&2; return; }}
  $s "$w/after" >&2 </dev/null; echo '{_MARK} after' $? >&2; rm -rf "$w"
}}
main=$(exec sh -c 'echo $PPID')
apart=$(command -v setsid || echo nohup)
$apart sh -c {quote(_GUARD)} guard "$w" "$main" "$s" >/dev/null 2>&1 </dev/null &
$s "$w/before" >&2 </dev/null; b=$?; echo '{_MARK} before' $b >&2
if [ $b != 0 ]; then once; exit 91; fi
{tar} </dev/null &
t=$!; echo $t > "$w/tar"; wait $t; r=$?; echo '{_MARK} tar' $r >&2
once; [ $r -le 1 ]
"""


def pushed(script: str, socket: str, environment: Mapping[str, str], words: Sequence[str]) -> str:
    """A script whose restic there takes what ``script`` writes to a repository behind ``socket``.

    What ``script`` says comes last on standard error; restic's summary is the output. What a script
    that fails wrote is not stored. Where nobody listens any more restic is ended, and not asked
    twice: it would try for a quarter of an hour to take its lock away.
    """
    said = " ".join(f"{key}={quote(value)}" for key, value in environment.items())
    restic = f"restic -r {quote(f'rest:http+unix://{socket}:/')} --no-cache --json backup"
    return f"""\
d=$(mktemp -d /run/strata-push-XXXXXX) || exit 92
trap 'rm -rf "$d"' EXIT; trap '' PIPE
printf %s {quote(script)} > "$d/script"
{said} {restic} {" ".join(map(quote, words))} --stdin-from-command \
  -- sh -c 'exec sh "$1/script" 2>"$1/said"' sh "$d" >"$d/out" 2>"$d/err" </dev/null &
r=$!
while kill -0 $r 2>/dev/null; do
  tail -c 400 "$d/out" | tail -n 1
  echo || {{ kill $r; sleep 2; kill -9 $r; break; }} 2>/dev/null
  sleep 1
done
wait $r; r=$?; tail -n 1 "$d/out"; cat "$d/err" >&2; [ ! -e "$d/said" ] || cat "$d/said" >&2
exit $r
"""


def _excluded(one: DataSet) -> Iterable[str]:
    yield from (pattern.lstrip("/") for pattern in one.exclude)
    for path in one.paths:
        yield from (f"{path}/{name}".lstrip("/") for name in _NEVER)


@dataclass(frozen=True, slots=True)
class Went:
    """How reading the paths went; ``None``: that step was not come to.

    Attributes:
        torn: What changed while it was read.
        said: The other words of whatever ran.
        late: The guard on the host ran ``after``, as nothing had moved for too long.
    """

    before: int | None
    tar: int | None
    after: int | None
    torn: tuple[str, ...]
    said: tuple[str, ...]
    late: bool


def went(stderr: Sequence[str]) -> Went:
    """What the script of :func:`files` told."""
    codes: dict[str, int] = {}
    torn: list[str] = []
    said: list[str] = []
    for line in stderr:
        change = _TORN.match(line)
        if line.startswith(_MARK):
            key, _, code = line.removeprefix(_MARK).strip().partition(" ")
            codes[key] = int(code) if code.isdigit() else -1
        elif change is not None:
            torn.append("/" + change["path"].lstrip("/"))
        elif not line.startswith("tar: Exiting with"):
            said.append(line)
    return Went(
        before=codes.get("before"),
        tar=codes.get("tar"),
        after=codes.get("after"),
        torn=tuple(torn),
        said=tuple(said),
        late=codes.get("after") == -1,
    )

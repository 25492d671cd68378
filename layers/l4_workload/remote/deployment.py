"""The scripts that change a host: load an image, deploy a project, take one away."""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile
from collections.abc import Iterable, Mapping

from lab.model.standing import FUNCTIONS, Marker, write
from layers.l4_workload.remote.probe import IMAGE_LABEL, ROOT, SOCKET

NO_COMPOSE = 71
NO_ENGINE = 72
_DEFAULT_NAMES = {"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}
_SECRET_FILES = {".env"}

# The Compose plugin is run directly: starting it through `docker` first starts every plugin once.
_COMPOSE = f"""
compose=
for folder in /usr/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins \\
    /usr/local/libexec/docker/cli-plugins /usr/local/lib/docker/cli-plugins \\
    "${{HOME:-/root}}/.docker/cli-plugins"; do
  [ -x "$folder/docker-compose" ] && compose="$folder/docker-compose" && break
done
if [ -z "$compose" ] && command -v docker-compose >/dev/null 2>&1; then
  case $(docker-compose version --short 2>/dev/null) in
    v[2-9]*|[2-9]*) compose=docker-compose ;;
  esac
fi
[ -n "$compose" ] || exit {NO_COMPOSE}
"""

# While the host boots, or when the daemon is just being started, a little patience is right.
_WAIT_FOR_ENGINE = f"""
command -v dockerd >/dev/null 2>&1 || [ -S {SOCKET} ] || exit {NO_COMPOSE}
alive() {{
  pid=; [ -r /run/docker.pid ] && read -r pid < /run/docker.pid
  [ -n "$pid" ] && [ -d "/proc/$pid" ] && [ -S {SOCKET} ]
}}
tries=0
until alive; do
  case $(systemctl is-active docker.service 2>/dev/null) in
    activating|reloading|active) ;;
    *) exit {NO_ENGINE} ;;
  esac
  tries=$((tries + 1)); [ $tries -lt 90 ] || exit {NO_ENGINE}
  sleep 1
done
"""

# An engine that refuses an image says so in the body of its answer, with the status 200.
_LOAD = f"""
if command -v docker >/dev/null 2>&1; then docker load -q
else
  answer=$(curl -sS --unix-socket {SOCKET} -X POST -H 'Content-Type: application/x-tar' \\
    -H 'Expect:' -T - 'http://localhost/images/load?quiet=1') || exit $?
  case $answer in *rror*|*message*) printf '%s\\n' "$answer" >&2; exit 1 ;; esac
fi
"""


def wait_for_engine() -> str:
    """Return when the engine answers; give up with NO_ENGINE or NO_COMPOSE."""
    return f"set -eu\n{_WAIT_FOR_ENGINE}{_COMPOSE}"


def load() -> str:
    """Load the image archive that comes on standard input."""
    return f"set -eu\n{_WAIT_FOR_ENGINE}{_LOAD}"


def bundle(files: Mapping[str, tuple[bytes, bool]], record: bytes) -> bytes:
    """What :func:`deploy` reads: the project's files (content, executable) and our record."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (content, executable) in sorted(files.items()):
            for folder in _folders(name):
                _add(tar, f"project/{folder}", None, 0o755)
            mode = 0o755 if executable else 0o644
            _add(tar, f"project/{name}", content, 0o600 if name in _SECRET_FILES else mode)
        _add(tar, "record.json", record, 0o600)
    return stream.getvalue()


def _folders(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _add(tar: tarfile.TarFile, name: str, content: bytes | None, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.mode = mode
    member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    member.size = len(content or b"")
    tar.addfile(member, io.BytesIO(content or b""))


def deploy(
    name: str,
    compose_file: str,
    *,
    gone: Iterable[str],
    recreate: Iterable[str],
    paused: Iterable[str] = (),
    strangers: Iterable[str] = (),
    marks: Iterable[Marker] = (),
) -> str:
    """Put the bundle from standard input in place, and bring the project up.

    ``recreate`` names services. ``paused`` containers make Compose stumble, and it does not see
    ``strangers``: containers that carry the project's label, and were not made by it. ``marks``
    are left beside its data before anything starts.

    The files are received whole beside the project, then copied over the old ones one by one.
    The folder itself is never swapped: containers keep data in it (``./data:/var/lib/x``) that is
    not ours to move. Only files that we put there and that are no longer declared (``gone``) go.
    """
    root, folder = shlex.quote(ROOT), shlex.quote(f"{ROOT}/{name}")
    staged = shlex.quote(f"{ROOT}/.{name}.new")
    chosen = "" if compose_file in _DEFAULT_NAMES else f"-f {shlex.quote(compose_file)}"
    up = f'"$compose" --ansi never -p {name} {chosen} up -d'
    services = " ".join(shlex.quote(s) for s in recreate)
    again = f"{up} --no-deps --force-recreate {services} </dev/null >&2" if services else ":"
    before = "\n".join([*map(_unpause, paused), *map(_remove_container, strangers)]) or ":"
    return f"""set -eu
umask 022
{_WAIT_FOR_ENGINE}{_COMPOSE}
mkdir -p {root} {folder}
rm -rf {staged}; mkdir {staged}; chmod 700 {staged}
tar -x -p -C {staged} -f -
mv -f {staged}/record.json {folder}.json
cp -Rpf {staged}/project/. {folder}/
rm -rf {staged}
cd {folder}
{_remove(gone)}
{_marking(marks)}
{before}
{up} --remove-orphans </dev/null >&2
{again}
"""


def _marking(marks: Iterable[Marker]) -> str:
    written = write(marks)
    return f"{FUNCTIONS}{written}" if written else ":"


def stop(name: str) -> str:
    """Stop the project's containers, where an engine runs; nothing of it is removed."""
    folder = shlex.quote(f"{ROOT}/{name}")
    return f"""set -eu
[ -e {folder}.json ] || exit 0
alive() {{ pid=; [ -r /run/docker.pid ] && read -r pid < /run/docker.pid; [ -d "/proc/$pid" ]; }}
alive || exit 0
{_COMPOSE}
cd /
"$compose" --ansi never -p {name} stop </dev/null >&2
"""


def keep_record(name: str) -> str:
    """Write the record that comes on standard input, whole or not at all."""
    path = shlex.quote(f"{ROOT}/{name}.json")
    return f"set -eu\numask 077\ncat > {path}.new\nmv -f {path}.new {path}\n"


def prune_images() -> str:
    """Remove images of ours that no tag and no container holds any more."""
    filters = "%7B%22label%22%3A%5B%22" + IMAGE_LABEL + "%22%5D%7D"
    return (
        "if command -v curl >/dev/null 2>&1; then "
        f"curl -sS --unix-socket {SOCKET} -X POST "
        f"'http://localhost/images/prune?filters={filters}' >/dev/null; "
        f"else docker image prune -f --filter label={IMAGE_LABEL} >/dev/null; fi"
    )


def remove(name: str, files: Iterable[str], images: Iterable[str], *, running: bool) -> str:
    """Take the project down: containers, networks, our files, our images.

    Never a volume, never a file that we did not put there. The record goes last: until then,
    the same command again resumes.
    """
    folder = shlex.quote(f"{ROOT}/{name}")
    known = sorted(files)
    lines = ["set -eu"]
    if running:
        down = f'"$compose" --ansi never -p {name} down --remove-orphans </dev/null >&2'
        lines += [_WAIT_FOR_ENGINE, _COMPOSE, "cd /", down]
        lines += [_remove_image(image) for image in sorted(images)]
    lines += [
        f"if cd {folder} 2>/dev/null; then",
        _remove(known),
        f"cd /; rmdir {folder} 2>/dev/null || :",
        "fi",
        f"rm -f {folder}.json {folder}.json.new; rm -rf {shlex.quote(f'{ROOT}/.{name}.new')}",
    ]
    return "\n".join(lines)


def _unpause(identity: str) -> str:
    url = shlex.quote(f"http://localhost/containers/{identity}/unpause")
    return (
        "if command -v curl >/dev/null 2>&1; then "
        f"curl -sS --unix-socket {SOCKET} -X POST {url} >/dev/null; "
        f"else docker unpause {shlex.quote(identity)} >/dev/null; fi"
    )


def _remove_container(identity: str) -> str:
    url = shlex.quote(f"http://localhost/containers/{identity}?force=1")
    return (
        "if command -v curl >/dev/null 2>&1; then "
        f"curl -sS --unix-socket {SOCKET} -X DELETE {url} >/dev/null; "
        f"else docker rm -f {shlex.quote(identity)} >/dev/null; fi"
    )


def _remove_image(image: str) -> str:
    """By name; an image that something else uses stays."""
    url = shlex.quote(f"http://localhost/images/{image}")
    return (
        "if command -v curl >/dev/null 2>&1; then "
        f"curl -s --unix-socket {SOCKET} -X DELETE {url} >/dev/null || :; "
        f"else docker image rm {shlex.quote(image)} >/dev/null 2>&1 || :; fi"
    )


def _remove(paths: Iterable[str]) -> str:
    """Remove files and the folders that become empty by it, below the current folder."""
    known = sorted(paths)
    if not known:
        return ":"
    folders = sorted({f for p in known for f in _folders(p)}, key=lambda f: -f.count("/"))
    files = " ".join(shlex.quote(posixpath.join(".", p)) for p in known)
    lines = [f"rm -f -- {files}"]
    lines += [f"rmdir -- {shlex.quote(posixpath.join('.', f))} 2>/dev/null || :" for f in folders]
    return "\n".join(lines)

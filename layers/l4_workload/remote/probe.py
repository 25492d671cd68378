"""Everything that is to be known about one workload, asked in one round trip."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pydantic import ValidationError

from lab.model import standing
from layers.l4_workload.drift import file_identity
from layers.l4_workload.spec import FOLDER, Container, Health, Observed, Record

ROOT = FOLDER
"""Where projects live on a host: ``<name>/`` is the folder, ``<name>.json`` our record of it."""

IMAGE_LABEL = "io.strata.image"
"""Our mark on an image that was made here; its value is the definition it was made from."""

SOCKET = "/run/docker.sock"
_MARK = "==strata-probe=="
PROJECT = "com.docker.compose.project"
"""Compose's mark on everything of a project."""

_SERVICE = "com.docker.compose.service"
_ANSWER_BYTES = 65536
_ANONYMOUS = re.compile(r"^[0-9a-f]{64}$")

# A stopped dockerd is known by its pid file. Its socket is not touched then: systemd listens on it
# too, and would start the daemon for us, which looking must not do.
ENGINE = r"""
engine=missing
pid=; [ -r /run/docker.pid ] && read -r pid < /run/docker.pid || :
if [ -n "$pid" ] && [ -d "/proc/$pid" ] && [ -S {socket} ]; then engine=running
elif command -v dockerd >/dev/null 2>&1; then engine=stopped; fi
if command -v curl >/dev/null 2>&1; then way=curl
elif command -v docker >/dev/null 2>&1; then way=docker
else way=none; fi
"""

_CONTAINERS = r"""
ask() {{ curl -sS --max-time 60 --unix-socket {socket} "$@"; }}
if [ $engine = running ] && [ $way = curl ]; then
  mark containers
  list=$(ask '{containers}') && {{
    ids=$(printf '%s' "$list" | grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4)
    [ -z "$ids" ] || {{
      set --; for id in $ids; do set -- "$@" "http://localhost/containers/$id/json"; done
      ask "$@"
    }}
  }} || exit 70
  mark images; ask '{images}' || exit 70
elif [ $engine = running ] && [ $way = docker ]; then
  mark containers
  ids=$(docker ps -aq --no-trunc --filter 'label={project}') || exit 70
  [ -z "$ids" ] || docker inspect $ids || exit 70
  mark images
  ids=$(docker images -q --no-trunc --filter 'label={image_label}') || exit 70
  [ -z "$ids" ] || docker image inspect $ids || exit 70
fi
"""

_HTTP = r"""
mark health
if [ $way = curl ]; then
  curl -s --max-time 5 -o - -w '\n%{{http_code}}' {url} | tail -c {kept}
elif command -v wget >/dev/null 2>&1; then
  page=$(wget -q -T 5 -O - {url}) && printf '%s\n200' "$page" || printf '\n0'
fi
"""

_TCP = r"""
mark health
if [ $way = curl ]; then
  curl -s --max-time 1 {url} </dev/null >/dev/null; [ $? = 7 ] && printf '\n0' || printf '\n1'
fi
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe brought back.

    ``way`` is how the engine can be asked (``curl``, ``docker``, ``none``). ``page`` and
    ``status`` are the health check's, where the host itself was asked to do it.
    """

    observed: Observed
    way: str
    status: int | None = None
    page: str = ""


def script(name: str, files: Iterable[str], health: Health | None, kept: Sequence[str] = ()) -> str:
    """The script that looks at workload ``name``; with ``health``, it also does that check.

    ``kept`` are the paths of its data.
    """
    folder = shlex.quote(f"{ROOT}/{name}")
    filters = json.dumps({"label": [f"{PROJECT}={name}"]})
    labelled = json.dumps({"label": [IMAGE_LABEL]})
    values = {
        "socket": SOCKET,
        "project": f"{PROJECT}={name}",
        "image_label": IMAGE_LABEL,
        "containers": f"http://localhost/containers/json?all=1&filters={quote(filters)}",
        "images": f"http://localhost/images/json?filters={quote(labelled)}",
    }
    words = " ".join(shlex.quote(f"./{path}") for path in sorted(files))
    return "\n".join(
        [
            f"mark() {{ printf '\\n{_MARK} %s\\n' \"$1\"; }}",
            ENGINE.format(**values),
            "mark engine; printf '%s %s\\n' $engine $way",
            f"mark record; [ -r {folder}.json ] && cat {folder}.json",
            _files(folder, words) if words else "",
            f"mark standing\n{standing.look(kept)}" if kept else "",
            _CONTAINERS.format(**values),
            _health(health),
            "mark end",
        ]
    )


def _files(folder: str, words: str) -> str:
    return (
        f"if cd {folder} 2>/dev/null; then set -- {words}\n"
        'mark files; sha256sum -- "$@" 2>/dev/null\n'
        'mark executable; for f do [ -f "$f" ] && [ -x "$f" ] && printf \'%s\\n\' "$f"; done\n'
        "cd /; fi"
    )


def _health(health: Health | None) -> str:
    if health is None:
        return ""
    if health.http is not None:
        url = shlex.quote(f"http://127.0.0.1:{health.port}{health.path}")
        return f"if [ $engine = running ]; then {_HTTP.format(url=url, kept=_ANSWER_BYTES)}\nfi"
    url = shlex.quote(f"telnet://127.0.0.1:{health.port}")
    return f"if [ $engine = running ]; then {_TCP.format(url=url)}\nfi"


def parse(output: str, kept: Sequence[str] = ()) -> Answer:
    """Read what the script wrote. Raises ValueError where it is cut off or not understood."""
    sections = _sections(output)
    if "end" not in sections or "engine" not in sections:
        raise ValueError("the host's answer is cut off")
    engine, _, way = sections["engine"].strip().partition(" ")
    executable = set(sections.get("executable", "").splitlines())
    containers = tuple(_container(v) for v in _objects(sections.get("containers", "")))
    observed = Observed(
        engine=_engine(engine),
        record=_record(sections.get("record", "")),
        files=dict(_digests(sections.get("files", ""), executable)),
        images=dict(_definitions(_objects(sections.get("images", "")))),
        standing=tuple(standing.seen(kept, sections.get("standing", ""))) if kept else (),
        containers=tuple(
            sorted((c for c in containers if c is not None), key=lambda c: (c.title, c.name))
        ),
    )
    page, _, status = sections.get("health", "").strip().rpartition("\n")
    return Answer(observed, way, int(status) if status.isdigit() else None, page)


def _sections(output: str) -> dict[str, str]:
    """By name. The first of a name counts: a page that is fetched comes last, and cannot lie."""
    sections: dict[str, str] = {}
    for piece in output.split(f"\n{_MARK} ")[1:]:
        name, _, body = piece.partition("\n")
        sections.setdefault(name, body)
    return sections


def _engine(word: str) -> Literal["running", "stopped", "missing"]:
    if word == "running":
        return "running"
    return "stopped" if word == "stopped" else "missing"


def _record(text: str) -> Record | None:
    if not text.strip():
        return None
    try:
        return Record.model_validate_json(text)
    except ValidationError:
        return Record()  # torn or foreign: ours by its place, but it says nothing; deploy again


def _digests(text: str, executable: set[str]) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        sha256, _, path = line.partition("  ")
        if path.startswith("./"):  # (names with a backslash or a newline come escaped: not equal)
            yield path[2:], file_identity(sha256, executable=path in executable)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a row of JSON values; lists are opened."""
    decoder, at = json.JSONDecoder(), 0
    text = text.strip()
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        while at < len(text) and text[at].isspace():
            at += 1
        yield from value if isinstance(value, list) else [value]


def _definitions(images: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for image in images:
        labels = image.get("Labels") or (image.get("Config") or {}).get("Labels") or {}
        for tag in image.get("RepoTags") or []:
            if tag != "<none>:<none>":
                yield tag, labels.get(IMAGE_LABEL, "")


def _container(body: Mapping[str, Any]) -> Container | None:
    """One container out of the engine's own description; ``None`` for ``compose run`` ones."""
    config, status = body.get("Config") or {}, body.get("State") or {}
    if not config:  # it went away between listing and asking: {"message": "No such container"}
        return None
    labels, host = config.get("Labels") or {}, body.get("HostConfig") or {}
    if labels.get("com.docker.compose.oneoff") == "True":
        return None
    number = labels.get("com.docker.compose.container-number", "1")
    return Container(
        id=body["Id"],
        service=labels.get(_SERVICE, ""),
        number=int(number) if number.isdigit() else 1,
        name=body.get("Name", "").lstrip("/"),
        state=status.get("Status", ""),
        exit_code=status.get("ExitCode", 0),
        health=(status.get("Health") or {}).get("Status", "").replace("none", ""),
        image=body.get("Image", ""),
        config=labels.get("com.docker.compose.config-hash", ""),
        restart=(host.get("RestartPolicy") or {}).get("Name", ""),
        environment=dict(v.partition("=")[::2] for v in config.get("Env") or []),
        command=(*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])),
        mounts=tuple(sorted(_mount(m) for m in body.get("Mounts") or [])),
        ports=tuple(sorted(_ports(host.get("PortBindings") or {}))),
    )


def _mount(mount: Mapping[str, Any]) -> str:
    source = mount.get("Name") or mount.get("Source", "")
    if _ANONYMOUS.match(source):
        source = "anonymous"  # its name is another one each time
    return f"{source}:{mount.get('Destination', '')}:{'rw' if mount.get('RW') else 'ro'}"


def _ports(bindings: Mapping[str, Any]) -> Iterator[str]:
    for inside, outside in bindings.items():
        for binding in outside or []:
            yield f"{binding.get('HostIp', '')}:{binding.get('HostPort', '')}->{inside}"

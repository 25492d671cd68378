"""What a persona says about its workloads, what is found on the host, and what is handed on."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    model_validator,
)

from lab.model.files import File, Project
from lab.model.hooks import Hooks
from lab.model.secret import Secret
from lab.model.standing import Seen
from lab.model.units import Duration

FOLDER = "/var/lib/strata/workloads"
"""Where projects are put on a host, each in a folder of its name."""
_HEALTH = re.compile(r"^:(\d{1,5})(/\S*)?$")
_LAST_PORT = 65535
_IMAGE = re.compile(r"^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\d+/[a-z0-9._/-]+)?:[\w][\w.-]{0,127}$")


class _Written(BaseModel):
    """What users write: unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Found(BaseModel):
    """What is read from hosts and from records of older versions: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _project_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(
            f"{name!r} cannot be a workload's name: small letters, digits, - and _, "
            "beginning with a letter or digit (it becomes the Compose project's name)"
        )
    return name


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not an absolute path on the host: write it like /srv/start")
    return path.rstrip("/") or "/"


def _image_name(name: str) -> str:
    if not _IMAGE.match(name):
        raise ValueError(f"{name!r} is not an image with its tag: write it like home/start:1")
    return name


def _port_and_path(value: str) -> str:
    match = _HEALTH.match(value)
    if match is None or not 0 < int(match[1]) <= _LAST_PORT:
        raise ValueError(f"{value!r} is not a port on the host: write it like :8080/ or :5432")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Variable = Annotated[str, BeforeValidator(_scalar)]
"""YAML's numbers and truths as the text that a program will see."""


class Health(_Written):
    """How to tell that a workload does its work.

    Attributes:
        http: ``":8080/path"``: port on the host and path. Exactly one of ``http`` and ``tcp``.
        tcp: ``":5432"``: a port on the host that accepts connections.
        status: The HTTP status that is good.
        contains: Text that the answer must hold.
        within: How long a deployment may take to become healthy.
    """

    http: Annotated[str, AfterValidator(_port_and_path)] | None = None
    tcp: Annotated[str, AfterValidator(_port_and_path)] | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""
    within: Duration = 60

    @model_validator(mode="after")
    def _one_kind(self) -> Health:
        if (self.http is None) == (self.tcp is None):
            raise ValueError('health needs exactly one of http (":8080/") and tcp (":5432")')
        if self.tcp is not None and "/" in self.tcp:
            raise ValueError("tcp knows no path: write only the port, like :5432")
        if self.tcp is not None and self.contains:
            raise ValueError("contains needs http: a bare connection has no answer to look into")
        return self

    @property
    def port(self) -> int:
        """The port on the host."""
        return int((self.http or self.tcp or ":0").partition("/")[0][1:])

    @property
    def path(self) -> str:
        """The path of the request; ``"/"`` where none is written."""
        return "/" + (self.http or "").partition("/")[2]

    @property
    def title(self) -> str:
        """``"http :8080/"``: how plans and messages call it."""
        return f"http {self.http}" if self.http is not None else f"tcp {self.tcp}"


class ImageSource(_Written):
    """An image that is made on this machine, without a registry and without Docker.

    Attributes:
        packages: Debian packages, unpacked with what they depend on (their scripts do not run).
            None: nothing but ``files``.
        suite: The Debian release that they come from.
        files: Path in the image to the file beside the persona; executable ones stay so.
        command: What a container runs, unless the Compose file says otherwise.
        user: Name or ``uid:gid``; ``""`` is root.
        env: Environment variables.
        expose: TCP ports, for people and tools that read the image.
        workdir: Where the command starts.
    """

    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.:-]+$")], ...] = ()
    suite: Annotated[str, Field(pattern=r"^[a-z]+$")] = "trixie"
    files: dict[AbsolutePath, File] = {}
    command: tuple[str, ...] = ()
    user: str = ""
    env: dict[str, Variable] = {}
    expose: tuple[Annotated[int, Field(gt=0, le=_LAST_PORT)], ...] = ()
    workdir: AbsolutePath = "/"

    @model_validator(mode="after")
    def _not_empty(self) -> ImageSource:
        if not self.packages and not self.files:
            raise ValueError("an image needs packages or files: this one would be empty")
        return self


class Workload(_Written):
    """One Compose project: the unmodified file and its folder, and what we must know besides.

    Attributes:
        compose: The Compose file; its whole folder goes to the host with it.
        data: Folders on the host that hold what must not be lost; they are captured, never removed.
        capture: How: a dump, what is run around the reading, what is left out. Commands run in the
            project's folder on the host.
        health: When absent, running containers (healthy ones, where Compose checks) are enough.
        images: Images to make here and to load on the host, by name and tag.
        variables: Values for ``${NAME}`` in the Compose file (they go into its ``.env``).
    """

    compose: Project
    data: tuple[AbsolutePath, ...] = ()
    capture: Hooks = Hooks()
    health: Health | None = None
    images: dict[Annotated[str, AfterValidator(_image_name)], ImageSource] = {}
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Variable] = {}


class _Provider(_Found):
    kind: str = ""


class Document(_Found):
    """The sections of a host's document that this layer reads."""

    provider: _Provider = _Provider()
    workloads: dict[Annotated[str, AfterValidator(_project_name)], Workload] = {}


class Inputs(_Found):
    """What a workload needs from below; ``None`` while it is only predicted.

    Attributes:
        shut: Nothing but its login is found from here: its health is asked for inside.
        captured: Set of data to when its newest good capture was taken.
        restoring: Sets whose restore is just being finished.
    """

    address: str | None = None
    port: int | None = None
    user: str | None = None
    host_key: str | None = None
    identity_file: str | None = None
    connection: Literal["ssh", "local"] = "ssh"
    sudo_password: InstanceOf[Secret] | None = None
    endpoints: dict[str, str] = {}
    shut: bool = False
    urls: dict[str, str] = {}
    captured: dict[str, float] = {}
    restoring: frozenset[str] = frozenset()


class Outputs(_Found):
    """Handed up: workload to the address that a browser on this machine can open."""

    urls: dict[str, str] = {}


class Container(_Found):
    """One container of the project, as the engine describes it.

    Attributes:
        service: The Compose service; ``""`` for a container that Compose does not know.
        number: 1, and up for further replicas.
        state: ``running``, ``exited``, ``paused``, ``restarting``, ``created``, ``dead``.
        health: ``healthy``, ``unhealthy``, ``starting``; ``""`` without a health check.
        image: The image's identity, ``sha256:…``.
        config: Compose's hash of the service that it was made from.
        mounts: ``source:destination:rw``, binds and volumes, sorted.
        ports: ``0.0.0.0:8080->8080/tcp``, sorted.
    """

    id: str = ""
    service: str
    number: int = 1
    name: str = ""
    state: str = "running"
    exit_code: int = 0
    health: str = ""
    image: str = ""
    config: str = ""
    restart: str = ""
    environment: dict[str, str] = {}
    command: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``"web"``, ``"web.2"``, or the container's own name where it has no service."""
        if not self.service:
            return f"container {self.name}"
        return self.service if self.number == 1 else f"{self.service}.{self.number}"

    @property
    def settled(self) -> bool:
        """It does its work, or was meant to end and ended well."""
        if self.state == "running":
            return self.health in {"", "healthy"}
        return self.ended_well

    @property
    def ended_well(self) -> bool:
        """A job that is not to be restarted, and that finished without an error."""
        return self.state == "exited" and self.exit_code == 0 and self.restart in {"", "no"}


class Record(_Found):
    """What we wrote down on the host when we deployed: what it was like when all was well.

    Attributes:
        finished: False from the moment the files are sent until the containers are well.
        files: Relative path to SHA-256 (``+x``: executable) of what we put into the folder.
    """

    format: Literal[1] = 1
    finished: bool = False
    files: dict[str, str] = {}
    containers: tuple[Container, ...] = ()


class Observed(_Found):
    """The workload as it is on the host; ``None`` instead means that nothing of it is there.

    Attributes:
        engine: ``stopped`` and ``missing`` mean that containers and images could not be seen.
        record: ``None``: it was not deployed by us.
        files: The same of the declared files that exist now.
        images: Name with tag to the definition it was made from.
        healthy: The health check's verdict at one quick try; ``None``: it could not be asked.
        answer: What the health check got, in a few words.
        standing: Its data, path by path; empty where it declares none, or was not asked.
    """

    engine: Literal["running", "stopped", "missing"] = "running"
    record: Record | None = None
    files: dict[str, str] = {}
    images: dict[str, str] = {}
    containers: tuple[Container, ...] = ()
    healthy: bool | None = None
    answer: str = ""
    standing: tuple[Seen, ...] = ()

    @property
    def deployed(self) -> bool:
        """Anything of it is there besides its data."""
        return self.record is not None or bool(self.containers)

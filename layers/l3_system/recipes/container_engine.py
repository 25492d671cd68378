"""``container_engine``: Docker or Podman from Debian's own packages, with Compose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.software import ContainerEngine

NAME = "container_engine"
_DAEMON = "/etc/docker/daemon.json"
# dockerd checks its settings since 23; an older one takes them as they are
_CHECK = "dockerd --help | grep -q -e --validate || exit 0; dockerd --validate --config-file %s"


def expand(system: System) -> Mapping[str, Any]:
    """Packages, daemon.json where something is declared of it, and the running engine."""
    engine = system.container_engine
    if engine is None:
        return {}
    packages = list(engine.packages) if engine.packages is not None else _packages(engine)
    if engine.kind == "podman":
        # what speaks Docker's language to it, Compose first of all, finds it at this socket
        return {"packages": packages, "services": {"podman.socket": "running"}}
    service: dict[str, Any] = {"state": "running"}
    if not engine.daemon:
        return {"packages": packages, "services": {"docker": service}}
    content = json.dumps(engine.daemon, indent=2, sort_keys=True)
    return {
        "packages": packages,
        "files": {_DAEMON: {"content": f"{content}\n", "validate": _CHECK}},
        "services": {"docker": {**service, "restart_on": [_DAEMON]}},
    }


def _packages(engine: ContainerEngine) -> list[str]:
    """Debian 13's. Debian 12 has no Compose v2, and docker-cli is within docker.io there."""
    if engine.kind == "docker":
        return ["docker.io", "docker-cli", *(["docker-compose"] if engine.compose else [])]
    # only recommended by podman, but containers that are to find each other by name need it
    podman = ["podman", "aardvark-dns"]
    return [*podman, "docker-cli", "docker-compose"] if engine.compose else podman

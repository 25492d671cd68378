"""The files of a twin: the lab's own, but for its name, and one host in an isolated sandbox."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError, PlanError
from lab.model.host import Host, Part
from lab.model.proxmox import LXC, Proxmox

PROVIDER = "drill-sandbox"
NOT_MADE = frozenset({"", "existing"})
"""What stands for a machine that is there, and that nobody could make again."""
KINDS = ("docker", "proxmox", "qemu")
"""What a twin can be: the kinds of provider that know ``isolated``."""
_KIND_OF = {"terraform": "proxmox", "docker": "docker", "qemu": "qemu"}
_STR = "tag:yaml.org,2002:str"
_LEFT_OUT = (".git", ".venv", ".test-cache", "__pycache__", "node_modules", ".mypy_cache")
# What a machine has where it really stands, and a container in a sandbox cannot have.
_ONLY_THERE = (
    *("ports", "network", "tags", "pool", "start", "protection", "agent", "boot"),
    *("kind", "template", "system", "swap", "nesting", "privileged", "host_key"),
)
_ELSEWHERE = frozenset({"provider", "address", "after", "protect", "existing"})


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where a twin is made.

    Attributes:
        kind: Of its provider.
        like: The lab's provider whose other settings it shares; ``""``: none.
        address: Its own, where it is not given one: ``192.0.2.203/24``.
    """

    kind: str
    like: str = ""
    address: str = ""


def sandbox_for(host: Host, part: Part | None, asked: str = "") -> Sandbox:
    """The one asked for; else of the kind that the host is, or containers where that is none.

    A container of Proxmox VE is drilled as a container here: a new one there makes a host key that
    nobody knows, and nothing is trusted on first use. Raises PlanError where it cannot be.
    """
    own = _KIND_OF.get(part.driver if part else "", "")
    if own == "proxmox" and _is_container(part):
        own = ""
        if asked == "proxmox":
            raise PlanError(
                f"Unable to drill {host.name} on its node: it is a container there, and nobody "
                "would know the host key of a new one.",
                hint=f"lab drill host={host.name}   (in a container of this machine)",
            )
    if asked == "proxmox" and own != "proxmox":
        raise PlanError(
            f"Unable to drill {host.name} on Proxmox VE: it is not a machine there.",
            hint=f"lab drill host={host.name}",
        )
    kind = asked or own or "docker"
    return Sandbox(kind, host.provider if kind == own else "")


def proxmox_of(part: Part | None) -> Proxmox | None:
    """The cluster that a machine is made on; ``None``: it is made elsewhere."""
    found = getattr(part.spec, "proxmox", None) if part else None
    return found if isinstance(found, Proxmox) else None


def _is_container(part: Part | None) -> bool:
    machine = getattr(part.spec, "section", None) if part else None
    return getattr(machine, "kind", "") == LXC


def name_of(lab: str, host: str) -> str:
    """The twin's lab: the same for the same host, so that what a killed drill left is found."""
    return f"drill-{hashlib.sha256(f'{lab}/{host}'.encode()).hexdigest()[:10]}"


def stage(root: Path, folder: Path, lab: str, host: str, sandbox: Sandbox) -> None:
    """Write them. Raises LabError where the host is not found, or nothing can be written."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        ignored = shutil.ignore_patterns(*_LEFT_OUT)
        shutil.copytree(root, folder, symlinks=True, ignore=ignored)
        _rename(folder / "lab.yaml", lab, sandbox)
        for path in sorted((folder / "inventory").glob("*.y*ml")):
            if _move(path, host, sandbox):
                return
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"Unable to make the files of a twin of {host}: {error}.") from error
    raise LabError(f"Unable to make the files of a twin of {host}: no inventory file names it.")


def _rename(path: Path, lab: str, sandbox: Sandbox) -> None:
    tree = yaml.compose(path.read_text(encoding="utf-8"))
    _put(tree, "name", _text(lab))
    providers = _get(tree, "providers")
    made = yaml.MappingNode("tag:yaml.org,2002:map", [])
    own = _get(providers, sandbox.like) if sandbox.like else None
    made.value += own.value if own is not None else []
    # Its state is this machine's: the lab's own may be shared, and is about the host itself.
    made.value = [(k, v) for k, v in made.value if k.value != "backend"]
    _put(made, "kind", _text(sandbox.kind))
    _put(made, "isolated", _flag("true"))
    _put(providers, PROVIDER, made)
    path.write_text(yaml.serialize(tree), encoding="utf-8")


def _move(path: Path, host: str, sandbox: Sandbox) -> bool:
    """Let the host's entry stand in the sandbox, where that file has it."""
    tree = yaml.compose(path.read_text(encoding="utf-8"))
    hosts = _get(tree, "hosts") if tree is not None else None
    entry = _get(hosts, host) if hosts is not None else None
    if entry is None:
        return False
    entry.value = [(k, v) for k, v in entry.value if k.value not in _ELSEWHERE]
    _put(entry, "provider", _text(PROVIDER))
    machine = _get(entry, "machine")
    if machine is None:
        machine = yaml.MappingNode("tag:yaml.org,2002:map", [])
        _put(entry, "machine", machine)
    if sandbox.kind != "proxmox":
        for key in _ONLY_THERE:
            _put(machine, key, yaml.ScalarNode("!reset", ""))
    elif sandbox.address:
        _put(entry, "address", _text(sandbox.address))
    else:
        _by_dhcp(machine)
    path.write_text(yaml.serialize(tree), encoding="utf-8")
    return True


def _by_dhcp(machine: Any) -> None:
    """What goes with an address of its own comes by DHCP, too."""
    network = _get(machine, "network")
    if not isinstance(network, yaml.MappingNode):
        network = yaml.MappingNode("tag:yaml.org,2002:map", [])
        _put(machine, "network", network)
    for key in ("gateway", "dns", "domain"):
        _put(network, key, yaml.ScalarNode("!reset", ""))


def _get(tree: Any, key: str) -> Any:
    return next((v for k, v in tree.value if k.value == key), None)


def _put(tree: Any, key: str, value: Any) -> None:
    tree.value = [(k, v) for k, v in tree.value if k.value != key]
    tree.value.append((_text(key), value))


def _text(value: str) -> Any:
    return yaml.ScalarNode(_STR, value)


def _flag(value: str) -> Any:
    return yaml.ScalarNode("tag:yaml.org,2002:bool", value)


__all__ = [
    "KINDS",
    "NOT_MADE",
    "PROVIDER",
    "Sandbox",
    "name_of",
    "proxmox_of",
    "sandbox_for",
    "stage",
]

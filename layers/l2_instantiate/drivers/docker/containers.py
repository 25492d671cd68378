"""Containers as the engine describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lab.clients.docker import Engine
from layers.l2_instantiate.ports import Forward

SSH = 22
PORT = "strata.port"


@dataclass(frozen=True, slots=True)
class Found:
    """One container: what ``docker inspect`` shows of it."""

    raw: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The engine's identity; another one for each that is made."""
        return str(self.raw["Id"])

    @property
    def labels(self) -> dict[str, str]:
        """What it is marked with."""
        return self.raw["Config"].get("Labels") or {}

    @property
    def port(self) -> int:
        """Where its SSH is on this machine."""
        return int(self.labels.get(PORT, "0"))

    @property
    def power(self) -> Literal["running", "stopped", "paused"]:
        """Whether it runs."""
        status = self.raw["State"]["Status"]
        return {"running": "running", "paused": "paused"}.get(status, "stopped")  # type: ignore[return-value]

    @property
    def is_whole(self) -> bool:
        """Whether it was ever started: one that was not is half made, and made anew."""
        return self.raw["State"]["Status"] not in {"created", "removing", "dead"}

    @property
    def is_up(self) -> bool:
        """Whether it runs, be it paused."""
        return self.power != "stopped"

    @property
    def is_failing(self) -> bool:
        """Whether it ended by itself, and the engine is about to start it again."""
        return bool(self.raw["State"]["Status"] == "restarting")

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        state = self.raw["State"]
        if self.power != "stopped":
            return "the engine started it again"
        code = f"exit code {state.get('ExitCode')}"
        return f"{code}, out of memory" if state.get("OOMKilled") else state.get("Error") or code

    @property
    def restarts(self) -> int:
        """How often the engine started it again by itself."""
        return int(self.raw.get("RestartCount", 0))

    @property
    def used(self) -> int | None:
        """Bytes of its own layer, where they were asked for."""
        return self.raw.get("SizeRw")

    @property
    def cpu(self) -> float:
        """Processors that it may use; 0 = all."""
        return int(self.raw["HostConfig"].get("NanoCpus") or 0) / 1e9

    @property
    def memory(self) -> int:
        """Bytes that it may use; 0 = all."""
        return int(self.raw["HostConfig"].get("Memory") or 0)

    @property
    def volumes(self) -> dict[str, str]:
        """Volume to where it is mounted."""
        mounts = self.raw["HostConfig"].get("Mounts") or ()
        return {m["Source"]: m["Target"] for m in mounts if m.get("Source")}

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The ports of this machine that lead to it, its SSH among them."""
        found = [
            Forward(protocol, b["HostIp"] or "0.0.0.0", int(b["HostPort"]), int(guest))  # noqa: S104 (read, not bound)
            for inside, bindings in (self.raw["HostConfig"].get("PortBindings") or {}).items()
            for guest, _, protocol in (inside.partition("/"),)
            for b in bindings or ()
            if b["HostPort"].isdigit()
        ]
        return tuple(sorted(found))


def find(engine: Engine, name: str, host: str, *, sizes: bool = False) -> Found | None:
    """That container, or ``None``. With ``sizes`` the engine also adds up what it holds."""
    query = {"size": True} if sizes else None
    raw = engine.get(f"/containers/{name}/json", query, doing=f"look at {host}")
    return None if raw is None else Found(raw)

"""The stand-in's own switchboard under `/standin`: for tests in other processes, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .faults import Fault, Faults, How
from .tasks import Wish
from .wire import Reply
from .world import World


class Control:
    """What may be asked of a stand-in beside its API."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world = world
        self._faults = faults

    def answer(self, verb: str, path: str, parameters: Mapping[str, Any]) -> Reply:
        """`GET /calls`, `POST /fault`, `POST /task`, `POST /edit`, `POST /clear`."""
        ask = getattr(self, f"_{verb.lower()}_{path.strip('/')}", None)
        if ask is None:
            return Reply(404, "no such switch")
        try:
            with self._world.lock:
                return Reply(200, "OK", {"data": ask(dict(parameters))})
        except (KeyError, TypeError, ValueError) as fault:
            return Reply(400, f"{type(fault).__name__}: {fault}", {"data": None})

    def _get_calls(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        start = int(parameters.get("from", 0))
        return [asdict(one) for one in self._faults.calls[start:]]

    def _get_happened(self, _: dict[str, Any]) -> list[dict[str, Any]]:
        return [asdict(one) for one in self._faults.happened]

    def _post_fault(self, parameters: dict[str, Any]) -> dict[str, Any]:
        fault = Fault(
            how=How(parameters.get("how", How.ANSWER)),
            at=int(parameters.get("at", 1)),
            for_good=str(parameters.get("for_good", "0")) in {"1", "True"},
            method=parameters.get("method", "*"),
            path=parameters.get("path", "*"),
            status=int(parameters.get("status", 500)),
            reason=parameters.get("reason"),
        )
        return asdict(self._faults.arm(fault))

    def _post_task(self, parameters: dict[str, Any]) -> dict[str, Any]:
        times = parameters.get("times", 1)
        wish = Wish(
            parameters.get("kind", "*"),
            parameters["what"],
            parameters.get("text", ""),
            None if times in {"", None} else int(times),
        )
        self._world.tasks.wishes.append(wish)
        return asdict(wish)

    def _post_edit(self, parameters: dict[str, Any]) -> dict[str, str]:
        guest = self._world.guests[int(parameters.pop("vmid"))]
        for key, value in parameters.items():
            if value == "":
                guest.config.pop(key, None)
            else:
                guest.config[key] = str(value)
        return guest.config

    def _post_clear(self, _: dict[str, Any]) -> None:
        self._faults.clear()
        self._world.tasks.wishes.clear()

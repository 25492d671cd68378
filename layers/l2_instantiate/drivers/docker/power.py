"""Start a container and see it come up; stop it in order."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.clients.docker import Refused
from lab.errors import DeadlineExceeded, DriverError
from lab.faults import point
from lab.layer import Target
from layers.l2_instantiate import login, network
from layers.l2_instantiate.drivers.docker import containers
from layers.l2_instantiate.drivers.docker.body import ssh_forward
from layers.l2_instantiate.drivers.docker.containers import Found
from layers.l2_instantiate.drivers.docker.place import Place
from layers.l2_instantiate.spec import Inputs, Spec

_TICK = 0.05
_SLOW_TICK = 0.3
_LINES = 20
_AGAIN = 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a step is given."""

    boot: float = 60.0
    stop: int = 60


class Power:
    """The power switch of one machine."""

    def __init__(self, target: Target[Spec, Inputs], place: Place, patience: Patience) -> None:
        self._target = target
        self._place = place
        self._patience = patience
        self._host = place.host

    def start(self, found: Found) -> None:
        """Start it, or let it go on, and return once a login works."""
        place = self._place
        if found.power == "paused":
            doing = f"let {self._host} go on"
            place.engine.post(f"/containers/{found.id}/unpause", doing=doing)
        elif not found.is_up:
            if found.is_failing:
                self.stop(found)
            self._check_ports(found)
            self._target.report("starting the container")
            point("l2.container.starting")
            doing = f"start {self._host}"
            place.engine.post(f"/containers/{found.id}/start", doing=doing)
            point("l2.container.started")
        self.await_up()

    def await_up(self) -> None:
        """Return once a login works. Raises DriverError where the container ends before."""
        place, began, why = self._place, time.monotonic(), ""
        limit = self._target.spec.boot_deadline or self._patience.boot
        record, restarts = place.require(), -1
        while True:
            place.workspace.check()
            found = containers.find(place.engine, place.name, self._host)
            if found is not None and restarts < 0:
                restarts = found.restarts
            if found is None or not _goes_on(found, restarts):
                raise self._ended(found)
            if network.speaks_ssh(record.port):
                self._target.report("logging in")
                why = login.refusal(place, record.door)
                if not why:
                    break
            gone = time.monotonic() - began
            if gone > limit:
                raise self._never_answered(limit, why)
            self._target.report(f"booting ({gone:.0f} s)")
            place.workspace.cancelled.wait(_TICK if gone < _SLOW_TICK * 10 else _SLOW_TICK)
        place.write(record.model_copy(update={"answered": True}))

    def stop(self, found: Found, *, at_once: bool = False) -> None:
        """End it: systemd is asked first and given its time, unless there is nothing to save."""
        if at_once or not (found.is_up or found.is_failing):
            return  # removing it ends it
        self._target.report("shutting down")
        seconds = self._patience.stop
        self._place.engine.post(
            f"/containers/{found.id}/stop",
            {"t": seconds},
            doing=f"stop {self._host}",
            timeout=seconds + 30.0,
        )

    def _ended(self, found: Found | None) -> DriverError:
        """It came to an end while it started: the engine shall not try that for ever."""
        lines, how = self._last_lines(), "it is gone"
        if found is not None:
            how = found.ending
            self.stop(found)
        return DriverError(
            f"Unable to start {self._host}: its container ended while it started ({how}).",
            hint=f"docker logs {self._place.name}",
            lines=lines,
        )

    def _check_ports(self, found: Found) -> None:
        for forward in found.forwards:
            if network.is_free(forward):
                continue
            if forward == ssh_forward(found.port):
                raise DriverError(
                    f"Unable to start {self._host}: another program listens at "
                    f"127.0.0.1:{found.port}, where its SSH is.",
                    hint=f"ss -ltnp 'sport = :{found.port}' and stop it; or another port by a new "
                    f"container: lab destroy host={self._host}, lab converge",
                )
            raise network.taken(forward, self._host)

    def _last_lines(self) -> tuple[str, ...]:
        """What it said last on its console."""
        query = {"stdout": True, "stderr": True, "tail": _LINES}
        path = f"/containers/{self._place.name}/logs"
        try:
            raw = self._place.engine.send("GET", path, query, doing=f"read what {self._host} said")
        except Refused:
            return ()
        lines = raw.decode(errors="replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip())

    def _never_answered(self, limit: float, why: str) -> DeadlineExceeded:
        cause = f"its SSH answers, but: {why.rstrip('.')}" if why else "its SSH is silent"
        return DeadlineExceeded(
            f"Unable to log in to {self._host}: after {limit:.0f} s it runs, and {cause}.",
            hint=f"docker logs {self._place.name}, then: lab converge host={self._host} waits "
            "again",
            lines=self._last_lines(),
        )


def _goes_on(found: Found, restarts: int) -> bool:
    """One that ended is started again by the engine: once may be bad luck."""
    return (found.is_up or found.is_failing) and found.restarts - restarts <= _AGAIN

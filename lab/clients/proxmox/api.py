"""One cluster: reads that are tried again, changes that are never made twice by accident."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lab.clients.proxmox.access import Access, Sent
from lab.clients.proxmox.failures import Refused
from lab.clients.proxmox.privileges import Privileges
from lab.clients.proxmox.things import Storage, Vm, Volume
from lab.errors import DriverError, Interrupted, TransportError

if TYPE_CHECKING:
    from lab.clients.proxmox.connection import Connection

_TIMEOUT = 90.0  # a synchronous change of a disk takes longer than any read
_WAITS = (0.3, 1.0, 3.0)
_FRESH = 30.0
_STILL_AWAY = 10.0


class Api:
    """Safe to use from several threads.

    ``calls`` counts the requests so far, for whoever measures. Raises, from every method:
        TransportError: it could not be reached. Unclear: it could, and the answer was lost.
        Refused: it said no; the message is its own.
        Interrupted: the user asked to stop.
    """

    def __init__(self, access: Access, cancelled: threading.Event) -> None:
        self.access = access
        self.cancelled = cancelled
        self.calls = 0
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._connection: Connection | None = None
        self._memory: dict[tuple[str, ...], _Remembered] = {}
        self._changes = 0
        self._failed: tuple[TransportError | None, float] = (None, 0.0)

    @property
    def who(self) -> str:
        """``user@realm!id``, as ``pveum`` calls the token."""
        return self._connected().who

    @property
    def skew(self) -> float | None:
        """Seconds by which the node's clock is ahead of ours; ``None`` before the first answer."""
        return self._connected().skew

    def get(self, path: str, /, *, doing: str, **params: Any) -> Any:
        """What it answers. Tried again where it is out of reach for a moment."""
        self._connected()  # who is not there at all is not asked again and again
        for wait in (*_WAITS, None):
            try:
                return self._call("get", path, params, doing)
            except TransportError:
                if wait is None:
                    raise
            except Refused as refused:
                if wait is None or not refused.did_nothing:
                    raise
            self.pause(wait)
        raise AssertionError  # the last round returns or raises

    def once(self, path: str, /, *, doing: str, lasting: bool = False, **params: Any) -> Any:
        """Like :meth:`get`, asked once for all who want it, until something is changed.

        What is shared by all hosts of a run is read by this: at most half a minute old.
        ``lasting``: no change of ours makes a difference to it.
        """
        key = (path, *(f"{k}={v}" for k, v in sorted(params.items())))
        with self._lock:
            remembered = self._memory.setdefault(key, _Remembered())
        with remembered.lock:
            changes = 0 if lasting else self._changes
            if not remembered.holds(changes):
                try:
                    remembered.keep(changes, self.get(path, doing=doing, **params))
                except DriverError as error:
                    remembered.keep(changes, failed=error)
                    raise
            return remembered.answer

    def post(self, path: str, /, *, doing: str, **params: Any) -> Any:
        """Make or start something. Asked again only where it certainly did nothing."""
        return self._change("post", path, params, doing)

    def put(self, path: str, /, *, doing: str, **params: Any) -> Any:
        """Change something. Asked again only where it certainly did nothing."""
        return self._change("put", path, params, doing)

    def delete(self, path: str, /, *, doing: str, **params: Any) -> Any:
        """Remove something. Asked again only where it certainly did nothing."""
        return self._change("delete", path, params, doing)

    def upload(self, path: str, file: Sent, /, *, doing: str, **params: Any) -> Any:
        """Send a file."""
        with self._changing():
            return self._connected().upload(path, file, params, doing)

    def touched(self) -> None:
        """Forget what was read: something was changed, by somebody else on our behalf."""
        with self._lock:
            self._changes += 1

    def pause(self, seconds: float) -> None:
        """Wait, unless the user asks to stop."""
        if self.cancelled.wait(seconds):
            raise Interrupted("Interrupted.", hint="the same command again; it resumes")

    def hasten(self, method: str, path: str) -> Any:
        """One exchange that is made although the user asked to stop: to stop things there."""
        return self._connected().call(method, path, {}, "stop")

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    # What several layers read.

    def version(self) -> str:
        """``"9.1.5"``."""
        return str(self.once("version", doing="ask for the version", lasting=True)["version"])

    def privileges(self) -> Privileges:
        """What the token may do, and where."""
        found = self.once("access/permissions", doing="see what the token may do", lasting=True)
        return Privileges({path: dict(held) for path, held in (found or {}).items()})

    def vms(self) -> tuple[Vm, ...]:
        """Every machine, container and template that the token may see, on all nodes."""
        found = self.once("cluster/resources", doing="list the machines", type="vm")
        return tuple(Vm.of(row) for row in found)

    def storages(self, node: str) -> tuple[Storage, ...]:
        """The storages of a node that the token may see."""
        found = self.once(f"nodes/{node}/storage", doing=f"list the storages of {node}")
        return tuple(Storage.of(row) for row in found)

    def volumes(self, node: str, storage: str, content: str) -> tuple[Volume, ...]:
        """What lies on a storage, of one kind of content (``import``, ``images``)."""
        path = f"nodes/{node}/storage/{storage}/content"
        found = self.once(path, doing=f"list what lies on {storage}", content=content)
        return tuple(Volume.of(row) for row in found)

    def config(self, node: str, vmid: int, *, current: bool = False) -> dict[str, Any] | None:
        """A machine's configuration, with what is pending or (``current``) as it runs.

        ``None``: there is no such machine. Always asked anew.
        """
        path = f"nodes/{node}/qemu/{vmid}/config"
        try:
            found: dict[str, Any] = self.get(
                path, doing=f"read the configuration of VM {vmid}", current=current or None
            )
        except Refused as refused:
            if refused.is_absent:
                return None
            raise
        return found

    def id_is_free(self, vmid: int) -> bool:
        """Whether nobody has that VMID, also no machine that the token may not see."""
        try:
            self.get("cluster/nextid", doing=f"see whether the VMID {vmid} is free", vmid=vmid)
        except Refused as refused:
            if "vmid" in refused.errors or refused.is_taken:
                return False
            raise
        return True

    def _change(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Any:
        with self._changing():
            for wait in (*_WAITS, None):
                try:
                    return self._call(method, path, params, doing)
                except Refused as refused:
                    if wait is None or not refused.did_nothing:
                        raise
                self.pause(wait)
        raise AssertionError  # the last round returns or raises

    def _changing(self) -> _Changing:
        return _Changing(self)

    def _call(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Any:
        if self.cancelled.is_set():
            self.pause(0)
        connection = self._connected()
        with self._lock:
            self.calls += 1
        return connection.call(method, path, params, doing)

    def _connected(self) -> Connection:
        """The session. Where nobody answers, all who ask within a moment are told the same."""
        with self._opening:
            if self._connection is not None:
                return self._connection
            failed, at = self._failed
            if failed is not None and time.monotonic() - at < _STILL_AWAY:
                raise failed
            try:
                try:
                    self._connection = _connect(self.access)
                except TransportError:
                    self.pause(_WAITS[0])
                    self._connection = _connect(self.access)
            except TransportError as error:
                self._failed = error, time.monotonic()
                raise
            return self._connection


class _Remembered:
    """One answer, and after how many changes and when it was given."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answer: Any = None
        self.failed: DriverError | None = None
        self.changes = -1
        self.at = 0.0

    def keep(self, changes: int, answer: Any = None, failed: DriverError | None = None) -> None:
        """From now on this is what it was."""
        self.answer, self.failed = answer, failed
        self.changes, self.at = changes, time.monotonic()

    def holds(self, changes: int) -> bool:
        """Whether it still counts. Where it was a failure and counts, it is raised again."""
        age, same = time.monotonic() - self.at, self.changes == changes
        if self.failed is None:
            return same and age < _FRESH
        if age < _STILL_AWAY and (same or isinstance(self.failed, TransportError)):
            raise self.failed
        return False


class _Changing:
    """Around a change: what was read before it, and while it went on, is forgotten."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __enter__(self) -> None:
        self._api.touched()

    def __exit__(self, *_: object) -> None:
        self._api.touched()


def _connect(access: Access) -> Connection:
    try:
        from lab.clients.proxmox.connection import Connection  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise DriverError(
            f"Unable to talk to {access.url}: the library for it is not installed ({error.name}).",
            hint="pip install 'strata-lab[proxmox]'   (./bootstrap installs it)",
        ) from error
    return Connection(access, _TIMEOUT)

"""The files of a restic repository, in a folder or at a server that speaks restic's REST protocol.

What a file holds is never looked into; its name is the hash of it. Nothing is written over.

Source: restic's documentation of the REST backend (version 2 of its lists).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from lab import folders
from lab.errors import DriverError, TransportError

VERSION = "application/vnd.x.restic.rest.v2"
NAME = re.compile(r"^[0-9a-f]{64}$")
_PATIENCE = 120.0  # seconds without a byte


class Added(Enum):
    """What became of a file that was to be added."""

    KEPT = auto()
    THERE = auto()  # one of that name was there: it stays
    MISNAMED = auto()  # its content has another hash: nothing was kept


class Store(Protocol):
    """Where they lie. Used from several threads at once; errors are LabErrors.

    ``kind`` is ``data``, ``index``, ``keys``, ``locks`` or ``snapshots``.
    """

    @property
    def place(self) -> str:
        """What tells it from others, for people and notes; no password is in it."""
        ...

    @property
    def removes(self) -> bool:
        """Whether anything but a lock can be removed there."""
        ...

    def names(self, kind: str) -> list[tuple[str, int]]:
        """Of each file its name and its size in bytes, sorted."""
        ...

    def read(self, kind: str, name: str = "") -> bytes | None:
        """Its content (``config`` has no name); ``None``: there is none."""
        ...

    def add(self, kind: str, name: str, body: Iterator[bytes]) -> Added:
        """Keep it, whole and durably or not at all. Raises what ``body`` raises, too."""
        ...

    def remove(self, kind: str, name: str) -> None:
        """Take it away; gone is fine."""
        ...


class FolderStore:
    """In a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def place(self) -> str:
        """See :class:`Store`."""
        return str(self.folder)

    @property
    def removes(self) -> bool:
        """See :class:`Store`."""
        return True

    def path(self, kind: str, name: str = "") -> Path:
        """Where that file lies."""
        inside = f"{kind}/{name[:2]}/{name}" if kind == "data" else f"{kind}/{name}"
        return self.folder / inside.rstrip("/")

    def names(self, kind: str) -> list[tuple[str, int]]:
        """See :class:`Store`."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.folder / kind):
                if NAME.match(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # a lock that has just gone
                        found.append((entry.name, entry.stat().st_size))
        return sorted(found)

    def read(self, kind: str, name: str = "") -> bytes | None:
        """See :class:`Store`."""
        try:
            return self.path(kind, name).read_bytes()
        except FileNotFoundError:
            return None

    def add(self, kind: str, name: str, body: Iterator[bytes]) -> Added:
        """See :class:`Store`."""
        place = self.path(kind, name)
        if place.exists():
            for _ in body:
                pass
            return Added.THERE
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = place.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            with new.open("xb") as file:
                os.fchmod(file.fileno(), 0o400)
                if _copied(body, file) != name:
                    return Added.MISNAMED
                file.flush()
                os.fsync(file.fileno())
            os.link(new, place)  # never over one that came meanwhile
        except FileExistsError:
            return Added.THERE
        finally:
            new.unlink(missing_ok=True)
        folders.flush(place.parent)
        return Added.KEPT

    def remove(self, kind: str, name: str) -> None:
        """See :class:`Store`."""
        self.path(kind, name).unlink(missing_ok=True)


class RestStore:
    """At a REST server: ``url`` as restic writes it, ``rest:https://…`` and its environment."""

    def __init__(self, url: str, environment: Mapping[str, str], place: str = "") -> None:
        said = urlsplit(url.removeprefix("rest:"))
        host = said.netloc.rpartition("@")[2]
        self._base = urlunsplit((said.scheme, host, said.path.rstrip("/"), "", ""))
        self._place = place or f"rest:{self._base}/"
        user = unquote(said.username or "") or environment.get("RESTIC_REST_USERNAME", "")
        word = unquote(said.password or "") or environment.get("RESTIC_REST_PASSWORD", "")
        token = base64.b64encode(f"{user}:{word}".encode()).decode()
        self._headers = {"Accept": VERSION, **({"Authorization": f"Basic {token}"} if user else {})}
        trusted = ssl.create_default_context()
        if environment.get("RESTIC_CACERT"):
            trusted.load_verify_locations(environment["RESTIC_CACERT"])
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trusted), _StayHere()
        )

    @property
    def place(self) -> str:
        """See :class:`Store`."""
        return self._place

    @property
    def removes(self) -> bool:
        """See :class:`Store`. An append-only server refuses before it looks for the file."""
        try:
            self.remove("keys", secrets.token_hex(32))
        except TransportError:
            raise
        except DriverError:
            return False
        return True

    def names(self, kind: str) -> list[tuple[str, int]]:
        """See :class:`Store`."""
        said = self._ask("GET", f"{kind}/")
        try:
            entries = json.loads(said or b"[]")
            found = [(str(e["name"]), int(e["size"])) for e in entries or ()]
        except (ValueError, TypeError, KeyError) as error:
            raise self._failed("its list cannot be understood") from error
        return sorted(found)

    def read(self, kind: str, name: str = "") -> bytes | None:
        """See :class:`Store`."""
        return self._ask("GET", f"{kind}/{name}".rstrip("/"))

    def add(self, kind: str, name: str, body: Iterator[bytes]) -> Added:
        """See :class:`Store`."""
        with tempfile.TemporaryFile() as file:  # encrypted; its hash is known at its end
            if _copied(body, file) != name:
                return Added.MISNAMED
            size = file.tell()
            file.seek(0)
            if self._ask("HEAD", f"{kind}/{name}") is not None:
                return Added.THERE
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            if self._ask("POST", f"{kind}/{name}", file, headers) is None:
                raise self._failed("it says that there is no place for a file")
        return Added.KEPT

    def remove(self, kind: str, name: str) -> None:
        """See :class:`Store`."""
        self._ask("DELETE", f"{kind}/{name}")

    def _ask(
        self, method: str, path: str, body: IO[bytes] | None = None, more: Mapping[str, str] = {}
    ) -> bytes | None:
        """The answer's content; ``None``: there is no such file. Raises DriverError."""
        request = urllib.request.Request(  # noqa: S310 (the user's own store)
            f"{self._base}/{path}", data=body, headers={**self._headers, **more}, method=method
        )
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:  # noqa: PLR2004
                    return None
                raise self._failed(f"it says {error.code} {error.reason}", method) from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise TransportError(
                f"Unable to reach {self._place}: {why}.",
                hint="the same command again, once the store answers",
            ) from error

    def _failed(self, why: str, method: str = "GET") -> DriverError:
        if method == "DELETE":
            why += " to removing a file; a push has to remove the key that it was given"
        return DriverError(
            f"Unable to use {self._place}: {why}.",
            hint="route: pull, which asks less of the store; or allow it there",
        )


class _StayHere(urllib.request.HTTPRedirectHandler):
    """The words of a store's login go to that store only."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


def _copied(body: Iterator[bytes], file: IO[bytes]) -> str:
    """Write it all; the hash of it."""
    whole = hashlib.sha256()
    for piece in body:
        whole.update(piece)
        file.write(piece)
    return whole.hexdigest()


__all__ = ["NAME", "VERSION", "Added", "FolderStore", "RestStore", "Store"]

"""One :class:`Api` a cluster and token, shared by all layers of a run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from lab.clients.proxmox.access import Access
from lab.clients.proxmox.api import Api
from lab.model.proxmox import Proxmox


class _Run(Protocol):
    """The part of a run's workspace that matters here."""

    @property
    def root(self) -> Path: ...

    @property
    def cancelled(self) -> threading.Event: ...


class Apis:
    """The pool."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._apis: dict[Access, Api] = {}

    def at(self, provider: Proxmox) -> Api:
        """The API of that provider. Nothing is asked of it here."""
        access = Access.of(provider, self._run.root)
        with self._lock:
            if access not in self._apis:
                self._apis[access] = Api(access, self._run.cancelled)
            return self._apis[access]

    def close(self) -> None:
        """Hang up everywhere."""
        with self._lock:
            for api in self._apis.values():
                api.close()


def apis(workspace: _Run) -> Apis:
    """The pool that all layers of a run share: ``workspace.resource(apis)``."""
    return Apis(workspace)

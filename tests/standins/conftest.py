"""A stand-in, and the plainest client that can talk to it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.standins.proxmox import ProxmoxStandIn, SchemaMissingError
from tests.standins.proxmox.schema import load


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    reason: str
    body: Any
    headers: dict[str, str]

    @property
    def data(self):
        assert self.status == 200, f"{self.status} {self.reason} {self.body}"
        return self.body["data"]

    @property
    def errors(self):
        return self.body["errors"]


class Api:
    """Calls a stand-in's API as a token."""

    def __init__(self, standin, token=None):
        self.standin = standin
        self.headers = {"Authorization": f"PVEAPIToken={token or standin.token}"}
        self._context = ssl.create_default_context(cafile=str(standin.certificate))

    def get(self, path, /, **query):
        return self.call("GET", path, query)

    def post(self, path, /, **form):
        return self.call("POST", path, form)

    def put(self, path, /, **form):
        return self.call("PUT", path, form)

    def delete(self, path, /, **query):
        return self.call("DELETE", path, query)

    def call(self, method, path, parameters, *, body=None, headers=None, prefix="/api2/json"):
        named = {
            key if key.startswith("policy_") else key.replace("_", "-"): value
            for key, value in parameters.items()
        }
        text = urlencode(named)
        sent = self.headers | (headers or {})
        path = prefix + quote(path, safe="/:@!?=&")
        if method in {"GET", "DELETE"}:
            path += f"?{text}" if text else ""
        elif body is None:
            body = text
            sent = {"Content-Type": "application/x-www-form-urlencoded"} | sent
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.standin.port, context=self._context, timeout=20
        )
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            raw = answer.read()
            parsed = json.loads(raw) if raw else None
            return Said(answer.status, answer.reason, parsed, dict(answer.headers))
        finally:
            connection.close()

    def done(self, said):
        """Wait for the task that an answer names; its exit status."""
        return self.ended(said.data)

    def ended(self, upid):
        """Wait for a task; its exit status."""
        seen = []
        until = time.monotonic() + 20
        while time.monotonic() < until:
            found = self.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status").data
            seen.append(found["status"])
            if found["status"] == "stopped":
                return found["exitstatus"]
            time.sleep(0.01)
        raise AssertionError(f"{upid} does not end")

    def config(self, vmid, **query):
        return self.get(f"/nodes/{self.standin.guest(vmid).node}/qemu/{vmid}/config", **query).data


@pytest.fixture(scope="session", autouse=True)
def described():
    try:
        load()
    except SchemaMissingError as fault:
        pytest.skip(str(fault))


@pytest.fixture
def standin():
    with ProxmoxStandIn(patience=0.01) as running:
        yield running


@pytest.fixture
def api(standin):
    return Api(standin)


@pytest.fixture
def as_token(standin):
    return lambda token: Api(standin, token)

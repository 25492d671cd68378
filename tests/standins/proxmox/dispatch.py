"""From a request to a reply: who calls, may he, is it well formed, what is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.parse import unquote

from . import permissions, validation
from .access import Identity
from .calls import ANSWERS, Answer, ApiError, Call, Upload
from .control import Control
from .faults import Fault, Faults, How
from .schema import Match, Schema
from .wire import Reply
from .world import World


class Dispatcher:
    """Answers every call of one stand-in."""

    def __init__(self, schema: Schema, world: World, faults: Faults) -> None:
        self.schema = schema
        self.world = world
        self.faults = faults
        self._control = Control(world, faults)

    def control(self, verb: str, path: str, parameters: Mapping[str, Any]) -> Reply:
        """The stand-in's own switchboard, which Proxmox VE does not have."""
        return self._control.answer(verb, path, parameters)

    def api(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, Any],
        upload: Upload | None,
        headers: Message,
    ) -> Reply:
        """One call of the API, recorded, with the fault that it meets."""
        seen = self.faults.record(verb, path, parameters)
        fault = self.faults.meet(verb, path)
        if fault and fault.how in {How.ANSWER, How.RESET}:
            self.faults.outcome(seen, fault.status, fault.text, fault.how)
            return _broken(fault)
        reply = self._carry_out(verb, path, parameters, upload, headers)
        self.faults.outcome(seen, reply.status, reply.reason, fault.how if fault else None)
        return _broken(fault) if fault else reply

    def _carry_out(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, Any],
        upload: Upload | None,
        headers: Message,
    ) -> Reply:
        try:
            with self.world.lock:
                return self._answer(verb, path, parameters, upload, headers)
        except ApiError as fault:
            return _refusal(fault)

    def _answer(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, Any],
        upload: Upload | None,
        headers: Message,
    ) -> Reply:
        match = self.schema.find(verb, path)
        who = self._identity(verb, path, headers, match)
        if match is None:
            text = f"Method '{verb} {path}' not implemented"
            return Reply(501, text, {"data": None, "message": text})
        given = _given(match, parameters)
        if upload:
            given["filename"] = upload.filename
        permissions.check(self.world.access, match.method, who, given)
        self._reach(match)
        if errors := validation.errors_of(match.method, given):
            raise ApiError("Parameter verification failed.", 400, errors)
        answering = ANSWERS.get(match.method.key)
        if answering is None:
            text = f"the stand-in has no answer to {verb} {match.method.path}"
            return Reply(501, text, {"data": None, "message": text})
        result = answering(Call(self.world, who or Identity(""), given, upload, match.method.path))
        if isinstance(result, Answer):
            return Reply(200, "OK", {"data": result.data, **result.beside})
        return Reply(200, "OK", {"data": result})

    def _identity(
        self, verb: str, path: str, headers: Message, match: Match | None
    ) -> Identity | None:
        """Who calls; None only where nobody needs to be logged in."""
        if token := headers.get("Authorization", ""):
            return self._by_token(token)
        cookie = headers.get("Cookie", "")
        ticket = next(
            (
                unquote(part.partition("=")[2])
                for part in cookie.split("; ")
                if part.startswith("PVEAuthCookie=")
            ),
            "",
        )
        if not ticket:
            world_may = match and (match.method.permissions or {}).get("user") == "world"
            if world_may and (verb, path) != ("GET", "/version"):
                return None
            raise ApiError("No ticket", 401)
        found = self.world.access.tickets.get(ticket)
        if found is None:
            raise ApiError("invalid PVE ticket", 401)
        who, csrf = found
        if verb != "GET" and headers.get("CSRFPreventionToken") != csrf:
            raise ApiError("Permission denied - invalid csrf token", 401)
        return who

    def _by_token(self, header: str) -> Identity:
        name, _, secret = header.removeprefix("PVEAPIToken=").partition("=")
        user, _, token = name.partition("!")
        known = self.world.access.users.get(user)
        held = known.tokens.get(token) if known and known.enabled else None
        expired = held is not None and 0 < held.expire < self.world.now()
        if held is None or held.secret != secret or expired:
            raise ApiError("Authentication failed!", 401)
        return Identity(user, token)

    def _reach(self, match: Match) -> None:
        """The node that the path names must exist and be up, and its daemon run."""
        name = match.places.get("node")
        if name is not None and name != "localhost":
            node = self.world.nodes.get(name)
            if node is None:
                raise ApiError(
                    f"hostname lookup '{name}' failed - failed to get address info for: {name}:"
                    " Temporary failure in name resolution"
                )
            if not node.online:
                raise ApiError("No route to host", 595)
        if self.world.daemon_down and match.method.protected:
            raise ApiError("Connection refused", 595)


def _given(match: Match, parameters: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(parameters)
    for key, value in given.items():
        kind = (match.method.properties.get(key) or {}).get("type")
        if kind == "array" and not isinstance(value, list):
            given[key] = [value]
        elif isinstance(value, list) and kind != "array":
            given[key] = "\0".join(str(one) for one in value)
        elif isinstance(value, bool):
            given[key] = str(int(value))
    for key, place in match.places.items():
        if str(given.get(key, place)) != place:  # the same again is let through: clients do it
            text = f"Parameter verification failed - duplicate parameter '{key}'"
            raise ApiError(text, 400)
    return given | dict(match.places)


def _refusal(fault: ApiError) -> Reply:
    login = fault.text == "authentication failure"
    if fault.status in {595, 596, 599} or (fault.status == 401 and not login):
        return Reply(fault.status, fault.text)
    body: dict[str, Any] = {"data": None, "message": fault.text.rstrip("\n") + "\n"}
    if fault.errors:
        body["errors"] = fault.errors
    return Reply(fault.status, fault.text, body)


def _broken(fault: Fault) -> Reply:
    if fault.how in {How.RESET, How.DROP_REPLY}:
        return Reply(0, "", reset=True)
    if fault.status >= 590:
        return Reply(fault.status, fault.text)
    return Reply(fault.status, fault.text, {"data": None, "message": fault.text + "\n"})

"""May this caller make this call? Evaluated from what the API's description says of each method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .access import Access, Identity, normal
from .calls import ApiError, forbidden
from .schema import Method


def check(
    access: Access, method: Method, who: Identity | None, parameters: Mapping[str, Any]
) -> None:
    """Refuse with 403 what the caller may not do; `None` is somebody not logged in."""
    permissions = method.permissions
    if who is None:
        if not permissions or permissions.get("user") != "world":
            raise ApiError("Permission check failed (user != null)", 403)
        return
    if who.is_root:
        return
    if not permissions:
        raise ApiError("Permission check failed (user != root@pam)", 403)
    if permissions.get("user") in {"all", "world"}:
        return
    if fault := _fault(access, permissions.get("check") or [], who, parameters):
        raise fault


def _fault(
    access: Access, check_: Sequence[Any], who: Identity, parameters: Mapping[str, Any]
) -> ApiError | None:
    """What refuses, or None where the check lets through."""
    plain = ApiError("Permission check failed", 403)
    if not check_:
        return plain
    kind, *rest = check_
    if kind == "and":
        return next((f for one in rest if (f := _fault(access, one, who, parameters))), None)
    if kind == "or":
        return None if any(not _fault(access, one, who, parameters) for one in rest) else plain
    if kind == "perm":
        return _privilege_fault(access, rest, who, parameters)
    if kind == "perm-modify":
        return _modify_fault(access, str(rest[0]), who, parameters)
    if kind == "userid-param":
        return _user_fault(access, str(rest[0]), who, parameters)
    if kind == "userid-group":
        path = "/access/groups"
        return None if access.may(who, path, *rest[0]) else forbidden(path, *rest[0])
    return plain


def _privilege_fault(
    access: Access, rest: Sequence[Any], who: Identity, parameters: Mapping[str, Any]
) -> ApiError | None:
    template, privileges, *options = rest
    named = dict(zip(options[::2], options[1::2], strict=False))
    required = named.get("require_param")
    if required and parameters.get(required) is None:
        return ApiError("Permission check failed", 403)
    path = normal(_filled(template, parameters))
    if named.get("any"):
        return None if access.may(who, path, *privileges) else forbidden(path, *privileges)
    for privilege in privileges:
        if not access.may(who, path, privilege):
            return forbidden(path, privilege)
    return None


def _modify_fault(
    access: Access, template: str, who: Identity, parameters: Mapping[str, Any]
) -> ApiError | None:
    path = normal(_filled(template, parameters))
    allowed = ["Permissions.Modify"]
    for start, privilege in (
        ("/storage/", "Datastore.Allocate"),
        ("/vms/", "VM.Allocate"),
        ("/pool/", "Pool.Allocate"),
    ):
        if path.startswith(start):
            allowed.append(privilege)
    return None if access.may(who, path, *allowed) else forbidden(path, *allowed)


def _user_fault(
    access: Access, wanted: str, who: Identity, parameters: Mapping[str, Any]
) -> ApiError | None:
    user = str(parameters.get("userid", ""))
    if wanted == "self":
        return None if user == who.user else ApiError("Permission check failed", 403)
    path = f"/access/realm/{user.rpartition('@')[2]}"
    return None if access.may(who, path, wanted) else forbidden(path, wanted)


def _filled(template: str, parameters: Mapping[str, Any]) -> str:
    return re.sub(r"\{([^}]+)\}", lambda one: str(parameters.get(one[1], "")), template)

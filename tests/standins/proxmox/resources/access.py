"""Tickets, users, tokens, roles and the ACL."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.proxmox.access import Identity, Token, User
from tests.standins.proxmox.calls import ApiError, Call, answers, refused


@answers("POST", "/access/ticket")
def ticket(call: Call) -> Any:
    name = call["username"]
    if "@" not in name and call.get("realm"):
        name = f"{name}@{call['realm']}"
    user = call.world.access.users.get(name)
    if user is None or user.password is None or user.password != call.get("password"):
        raise ApiError("authentication failure", 401)
    made, csrf = call.world.access.new_ticket(name)
    who = Identity(name)
    capabilities = {
        "access": "/access",
        "dc": "/",
        "nodes": "/nodes",
        "storage": "/storage",
        "vms": "/vms",
    }
    return {
        "CSRFPreventionToken": csrf,
        "cap": {
            key: dict.fromkeys(call.world.access.privileges(who, path), 1)
            for key, path in capabilities.items()
        },
        "clustername": "lab",
        "ticket": made,
        "username": name,
    }


@answers("GET", "/access/permissions")
def permissions(call: Call) -> Any:
    access = call.world.access
    who = call.who
    if asked := call.get("userid"):
        user, _, token = asked.partition("!")
        who = Identity(user, token or None)
        if user != call.who.user:
            call.need("/access", "Sys.Audit")
    paths = {call["path"]} if call.get("path") else access.paths_of(who)
    found = {}
    for path in sorted(paths):
        have = access.privileges(who, path)
        if have or call.get("path"):
            found[path] = {one: int(have[one]) for one in sorted(have)}
    return found


@answers("GET", "/access/users")
def users(call: Call) -> Any:
    allowed = call.may("/access/groups", "User.Modify", "Sys.Audit")
    return [
        _user(one)
        for one in call.world.access.users.values()
        if allowed or one.name == call.who.user
    ]


@answers("POST", "/access/users")
def create_user(call: Call) -> Any:
    name = call["userid"]
    if name in call.world.access.users:
        raise ApiError(f"create user failed: user '{name}' already exists")
    user = call.world.access.add_user(name, call.get("password"))
    _fill(call, user)


@answers("GET", "/access/users/{userid}")
def get_user(call: Call) -> Any:
    found = _user(_need(call))
    found.pop("userid")
    return found | {"groups": sorted(_need(call).groups), "tokens": _tokens(_need(call))}


@answers("PUT", "/access/users/{userid}")
def change_user(call: Call) -> Any:
    _fill(call, _need(call))


@answers("DELETE", "/access/users/{userid}")
def delete_user(call: Call) -> Any:
    access = call.world.access
    access.users.pop(_need(call).name)
    access.grants = [one for one in access.grants if one.whom.partition("!")[0] != call["userid"]]


@answers("GET", "/access/users/{userid}/token")
def tokens(call: Call) -> Any:
    return [{"tokenid": name, **one} for name, one in _tokens(_need(call)).items()]


@answers("GET", "/access/users/{userid}/token/{tokenid}")
def get_token(call: Call) -> Any:
    held = _tokens(_need(call)).get(call["tokenid"])
    if held is None:
        raise ApiError(f"no such token '{call['tokenid']}' for user '{call['userid']}'")
    return held


@answers("POST", "/access/users/{userid}/token/{tokenid}")
def create_token(call: Call) -> Any:
    user = _need(call)
    name = call["tokenid"]
    if name in user.tokens:
        raise refused(tokenid="Token already exists.")
    separated = call.flag("privsep", default=True)
    whole = call.world.access.add_token(user.name, name, separated=separated)
    held = user.tokens[name]
    held.comment = call.get("comment")
    held.expire = call.number("expire", 0) or 0
    return {
        "full-tokenid": f"{user.name}!{name}",
        "info": {key: str(value) for key, value in _token(held).items()},
        "value": whole.partition("=")[2],
    }


@answers("DELETE", "/access/users/{userid}/token/{tokenid}")
def delete_token(call: Call) -> Any:
    if _need(call).tokens.pop(call["tokenid"], None) is None:
        raise ApiError(f"no such token '{call['tokenid']}' for user '{call['userid']}'")


@answers("GET", "/access/roles")
def roles(call: Call) -> Any:
    from tests.standins.proxmox.roles import ROLES

    return [
        {"privs": ",".join(sorted(have)), "roleid": name, "special": int(name in ROLES)}
        for name, have in call.world.access.roles.items()
    ]


@answers("GET", "/access/roles/{roleid}")
def get_role(call: Call) -> Any:
    have = call.world.access.roles.get(call["roleid"])
    if have is None:
        raise ApiError(f"role '{call['roleid']}' does not exist")
    return dict.fromkeys(sorted(have), 1)


@answers("POST", "/access/roles")
def create_role(call: Call) -> Any:
    access = call.world.access
    if call["roleid"] in access.roles:
        raise ApiError(f"create role failed: role '{call['roleid']}' already exists")
    access.roles[call["roleid"]] = _privileges(call)


@answers("PUT", "/access/roles/{roleid}")
def change_role(call: Call) -> Any:
    access = call.world.access
    held = access.roles.get(call["roleid"])
    if held is None:
        raise ApiError(f"role '{call['roleid']}' does not exist")
    access.roles[call["roleid"]] = _privileges(call) | (held if call.flag("append") else set())


@answers("DELETE", "/access/roles/{roleid}")
def delete_role(call: Call) -> Any:
    if call.world.access.roles.pop(call["roleid"], None) is None:
        raise ApiError(f"role '{call['roleid']}' does not exist")


@answers("GET", "/access/acl")
def acl(call: Call) -> Any:
    return [
        {
            "path": one.path,
            "propagate": int(one.propagate),
            "roleid": one.role,
            "type": one.kind,
            "ugid": one.whom,
        }
        for one in call.world.access.grants
        if call.may(one.path, "Permissions.Modify")
    ]


@answers("PUT", "/access/acl")
def change_acl(call: Call) -> Any:
    access = call.world.access
    for role in _split(call, "roles"):
        if role not in access.roles:
            raise ApiError(f"role '{role}' does not exist")
        for kind, key in (("user", "users"), ("group", "groups"), ("token", "tokens")):
            for whom in _split(call, key):
                if kind == "user" and whom not in access.users:
                    raise ApiError(f"user '{whom}' does not exist")
                if call.flag("delete"):
                    access.revoke(call["path"], kind, whom, role)
                else:
                    named = f"@{whom}" if kind == "group" else whom
                    propagate = call.flag("propagate", default=True)
                    access.grant(call["path"], named, role, propagate=propagate)


@answers("GET", "/access/groups")
def groups(call: Call) -> Any:
    members = call.world.access.users.values()
    return [
        {"groupid": name, "users": ",".join(one.name for one in members if name in one.groups)}
        for name in call.world.access.groups
    ]


@answers("POST", "/access/groups")
def create_group(call: Call) -> Any:
    if call["groupid"] in call.world.access.groups:
        raise ApiError(f"create group failed: group '{call['groupid']}' already exists")
    call.world.access.groups[call["groupid"]] = call.get("comment")


@answers("GET", "/access/domains")
def domains(_: Call) -> Any:
    return [
        {"comment": "Linux PAM standard authentication", "realm": "pam", "type": "pam"},
        {"comment": "Proxmox VE authentication server", "realm": "pve", "type": "pve"},
    ]


def _need(call: Call) -> User:
    user = call.world.access.users.get(call["userid"])
    if user is None:
        raise ApiError(f"no such user ('{call['userid']}')")
    return user


def _split(call: Call, key: str) -> list[str]:
    return [one for one in re.split(r"[,;\s]+", call.get(key) or "") if one]


def _privileges(call: Call) -> frozenset[str]:
    wanted = frozenset(_split(call, "privs"))
    if unknown := wanted - call.world.access.roles["Administrator"]:
        raise ApiError(f"invalid privilege '{min(unknown)}'")
    return wanted


def _fill(call: Call, user: User) -> None:
    for key in ("comment", "email", "firstname", "lastname"):
        if call.get(key) is not None:
            setattr(user, key, call[key])
    user.enabled = call.flag("enable", default=user.enabled)
    if call.get("groups") is not None:
        wanted = set(_split(call, "groups"))
        user.groups = (user.groups | wanted) if call.flag("append") else wanted


def _user(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {
        "enable": int(user.enabled),
        "expire": user.expire,
        "realm-type": user.name.rpartition("@")[2],
        "userid": user.name,
    }
    for key in ("comment", "email", "firstname", "lastname"):
        if getattr(user, key):
            found[key] = getattr(user, key)
    return found


def _tokens(user: User) -> dict[str, dict[str, Any]]:
    return {name: _token(one) for name, one in user.tokens.items()}


def _token(token: Token) -> dict[str, Any]:
    found: dict[str, Any] = {"expire": token.expire, "privsep": int(token.separated)}
    if token.comment:
        found["comment"] = token.comment
    return found

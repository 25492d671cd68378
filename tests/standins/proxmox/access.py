"""Users, tokens, roles and who may do what where: the API's access control."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .roles import PRIVILEGES, ROLES

_EVERYTHING: Mapping[str, bool] = MappingProxyType(dict.fromkeys(PRIVILEGES, True))


@dataclass(frozen=True)
class Identity:
    """Who calls: a user, or a token of one."""

    user: str
    token: str | None = None

    @property
    def name(self) -> str:
        """As tasks and lists write it."""
        return f"{self.user}!{self.token}" if self.token else self.user

    @property
    def is_root(self) -> bool:
        """Root by ticket; root's tokens are not."""
        return self.user == "root@pam" and self.token is None


@dataclass
class Token:
    """A user's token; `separated` ones have only what the ACL gives to the token too."""

    name: str
    secret: str
    separated: bool = True
    comment: str | None = None
    expire: int = 0


@dataclass
class User:
    """A user of a realm."""

    name: str
    password: str | None = None
    enabled: bool = True
    groups: set[str] = field(default_factory=set)
    tokens: dict[str, Token] = field(default_factory=dict)
    comment: str | None = None
    email: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    expire: int = 0


@dataclass(frozen=True)
class Grant:
    """One line of the ACL: a role for somebody, from a path downwards."""

    path: str
    kind: str  # user, group or token
    whom: str
    role: str
    propagate: bool = True


class Access:
    """The access control of a cluster."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {"root@pam": User("root@pam")}
        self.groups: dict[str, str | None] = {}
        self.roles: dict[str, frozenset[str]] = dict(ROLES)
        self.grants: list[Grant] = []
        self.tickets: dict[str, tuple[Identity, str]] = {}
        self.pool_of: dict[str, str] = {}  # "/vms/101" or "/storage/x" -> pool

    def add_user(self, name: str, password: str | None = None) -> User:
        """A user, made or found."""
        user = self.users.setdefault(name, User(name))
        if password is not None:
            user.password = password
        return user

    def add_token(self, user: str, name: str, *, separated: bool = True) -> str:
        """A new token; answers `user!name=secret`, as clients send it."""
        token = Token(name, str(uuid.uuid4()), separated=separated)
        self.add_user(user).tokens[name] = token
        return f"{user}!{name}={token.secret}"

    def grant(self, path: str, whom: str, role: str, *, propagate: bool = True) -> None:
        """A line of the ACL; `@group` names a group, `user!token` a token."""
        if whom.startswith("@"):
            kind, whom = "group", whom[1:]
        else:
            kind = "token" if "!" in whom else "user"
        self.revoke(path, kind, whom, role)
        self.grants.append(Grant(normal(path), kind, whom, role, propagate))

    def revoke(self, path: str, kind: str, whom: str, role: str) -> None:
        """Take a line of the ACL away, if it is there."""
        self.grants = [
            one
            for one in self.grants
            if (one.path, one.kind, one.whom, one.role) != (normal(path), kind, whom, role)
        ]

    def new_ticket(self, user: str) -> tuple[str, str]:
        """A ticket and its CSRF token."""
        ticket = f"PVE:{user}:{secrets.token_hex(4).upper()}::{secrets.token_urlsafe(48)}"
        csrf = f"{secrets.token_hex(4).upper()}:{secrets.token_urlsafe(24)}"
        self.tickets[ticket] = (Identity(user), csrf)
        return ticket, csrf

    def may(self, who: Identity, path: str, *privileges: str) -> bool:
        """Has one of these privileges on a path."""
        have = self.privileges(who, path)
        return any(one in have for one in privileges)

    def privileges(self, who: Identity, path: str) -> Mapping[str, bool]:
        """Every privilege on a path, with whether it propagates."""
        path = normal(path)
        if who.token is None:
            return self._of_user(who.user, path)
        user = self.users.get(who.user)
        token = user.tokens.get(who.token) if user else None
        if token is None:
            return {}
        owners = self._of_user(who.user, path)
        if not token.separated:
            return owners
        own = self._effective(path, {("token", who.name)}, ())
        return {one: own[one] for one in own if one in owners}

    def paths_of(self, who: Identity) -> set[str]:
        """The paths that a dump of somebody's permissions names."""
        fixed = {"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
        return fixed | {one.path for one in self.grants} | set(self.pool_of)

    def _of_user(self, name: str, path: str) -> Mapping[str, bool]:
        if name == "root@pam":
            return _EVERYTHING
        user = self.users.get(name)
        if user is None or not user.enabled:
            return {}
        return self._effective(path, {("user", name)}, user.groups)

    def _effective(
        self, path: str, who: set[tuple[str, str]], groups: Iterable[str]
    ) -> dict[str, bool]:
        roles = self._roles(path, who, groups)
        if pool := self.pool_of.get(path):
            for role, propagates in self._roles(f"/pool/{pool}", who, groups).items():
                if propagates:
                    roles.setdefault(role, propagates)
        found: dict[str, bool] = {}
        for role, propagates in roles.items():
            for privilege in self.roles.get(role, ()):
                found[privilege] = found.get(privilege, False) or propagates
        return found

    def _roles(
        self, path: str, who: set[tuple[str, str]], groups: Iterable[str]
    ) -> dict[str, bool]:
        roles: dict[str, bool] = {}
        for prefix in _prefixes(path):
            here = [
                one
                for one in self.grants
                if one.path == prefix and (one.propagate or prefix == path)
            ]
            own = [one for one in here if (one.kind, one.whom) in who]
            chosen = own or [one for one in here if one.kind == "group" and one.whom in groups]
            if chosen:  # the deeper line replaces what comes from above
                roles = {one.role: one.propagate for one in chosen}
        return {} if "NoAccess" in roles else roles


def normal(path: str) -> str:
    """A path of the ACL without doubled or trailing slashes."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _prefixes(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/"] + ["/" + "/".join(parts[: index + 1]) for index in range(len(parts))]

"""Machines that are there already: logged in to over ssh (or this one), and left as they are."""

from __future__ import annotations

from lab.clients.shell import Endpoint, shells
from lab.errors import DriverError, TransportError, UnknownHostKey
from lab.layer import Target, Workspace
from lab.model.plan import Change
from layers.l2_instantiate.existing import outputs
from layers.l2_instantiate.spec import Existing, Inputs, Observed, Spec

_DEADLINE = 60.0
_KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"


class ExistingDriver:
    """Any machine that a login works on. OpenSSH here, sshd and a POSIX sh there."""

    replace_on: frozenset[str] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def observe(self, target: Target[Spec, Inputs]) -> Observed | None:
        """Log in. One that is to be forgotten counts as gone, whether it answers or not."""
        existing = target.spec.existing
        if target.absent or existing is None:
            return None
        endpoint = _endpoint(target, existing)
        target.report("logs in")
        try:
            self._log_in(endpoint)
        except UnknownHostKey as error:
            return Observed(refused=_why(endpoint, error), hint=_compare(endpoint))
        return Observed(power="running")

    def apply(self, target: Target[Spec, Inputs], change: Change) -> None:
        """Nothing: no change is ever planned."""

    def _log_in(self, endpoint: Endpoint) -> None:
        """As root where that is possible: the layers above go on in the same session."""
        shell = self._workspace.resource(shells).to(endpoint)
        try:
            shell.run(":", doing="log in", deadline=_DEADLINE)
        except TransportError:
            raise
        except DriverError:
            # who may not become root can still be an appliance's user: L3 says if it needs more
            shell.run(":", doing="log in", deadline=_DEADLINE, root=False)


def _endpoint(target: Target[Spec, Inputs], existing: Existing) -> Endpoint:
    handed = outputs(target, existing)
    return Endpoint(
        name=target.host.name,
        kind=handed.connection,
        address=handed.address or "",
        port=existing.port,
        user=existing.user,
        host_key=existing.host_key,
        identity_file=handed.identity_file,
        sudo_password=existing.sudo_password,
    )


def _why(endpoint: Endpoint, error: UnknownHostKey) -> str:
    if endpoint.host_key is not None:
        return "it does not show the host key that is declared: another machine, or a new one"
    if "another host key" in error.message:
        return error.message.partition(": ")[2].rstrip(".")
    return "its host key is not in known_hosts, and a key nobody compared is not trusted"


def _compare(endpoint: Endpoint) -> str:
    """The line that shows its key, and where the right one goes."""
    port = "" if endpoint.port == 22 else f"-p {endpoint.port} "  # noqa: PLR2004 (ssh's own default)
    place = "existing: {host_key: …}" if endpoint.host_key is not None else "~/.ssh/known_hosts"
    return (
        f"ssh-keyscan -t ed25519 {port}{endpoint.address}   (the same as {_KEY_FILE} on the "
        f"machine itself? then it goes into {place})"
    )

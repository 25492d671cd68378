"""All kinds, in the order of applying."""

from __future__ import annotations

from layers.l3_system.kinds import (
    absent,
    directory,
    edit,
    file,
    filesystem,
    firewall,
    group,
    hostname,
    link,
    mount,
    package,
    service,
    sysctl,
    user,
    wireguard,
)
from layers.l3_system.kinds.kind import Kind

# The order of applying: a package brings users, groups and directories; a file may belong to a
# user and lie on a disk; a service needs all of them. Things that go, go in the reverse order.
KINDS: tuple[Kind, ...] = (
    package,
    group,
    user,
    filesystem,
    mount,
    directory,
    file,
    wireguard,
    link,
    absent,
    edit,
    sysctl,
    hostname,
    firewall,
    service,
)

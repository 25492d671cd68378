"""All kinds, in the order of applying."""

from __future__ import annotations

from layers.l3_system.kinds import (
    absent,
    certificate_authority,
    directory,
    edit,
    file,
    filesystem,
    firewall,
    group,
    hostname,
    link,
    locale,
    module,
    mount,
    package,
    repository,
    service,
    swap,
    sysctl,
    user,
    wireguard,
)
from layers.l3_system.kinds.kind import Kind

# The order of applying: a repository may be behind a private certificate authority, and packages
# come from repositories; a package brings users, groups and directories; a file may belong to a
# user and lie on a disk; a link may lead to a file, and lines are added to what is there then; a
# locale is read from them, a module's options from a file, and a setting may belong to a module; a
# service needs all of them. Things that go, go in the reverse order.
KINDS: tuple[Kind, ...] = (
    certificate_authority,
    repository,
    package,
    group,
    user,
    filesystem,
    mount,
    directory,
    swap,
    file,
    wireguard,
    link,
    absent,
    edit,
    locale,
    module,
    sysctl,
    hostname,
    firewall,
    service,
)

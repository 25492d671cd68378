"""What makes any machine itself, and so never goes into a template: one list for all drivers."""

from __future__ import annotations

MACHINE_ID = "/etc/machine-id"
"""Left empty, so that a new machine gives itself one when it first starts."""

IDENTITY = (
    "/etc/hostname",
    "/etc/netplan/50-cloud-init.yaml",
    "/etc/network/interfaces.d/50-cloud-init",
    "/etc/ssh/ssh_host_*",
    "/etc/sudoers.d/90-cloud-init-users",
    "/etc/systemd/network/10-cloud-init-*",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/home/*/.*_history",
    "/home/*/.ssh/authorized_keys",
    "/home/*/.ssh/id_*",
    "/root/.*_history",
    "/root/.ssh/authorized_keys",
    "/root/.ssh/id_*",
    "/tmp/*",  # noqa: S108 (of the disk, not of this machine)
    "/var/cache/apt/archives/*.deb",
    "/var/lib/cloud/*",
    "/var/lib/dbus/machine-id",
    "/var/lib/dhcp/*",
    "/var/lib/systemd/coredump/*",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/log/journal/*",
    "/var/tmp/*",  # noqa: S108
)
"""Who it is, who may log in, what it has seen; ``*`` may stand in any step."""

LOGS = ("/var/log",)
"""Below these every file goes, and the directories stay."""

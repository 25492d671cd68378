"""What goes into every image. Change it, and raise ``spec.CONTAINER_RECIPE``."""

from __future__ import annotations

from layers.l1_image.recipe import Files, Recipe

INIT = "/usr/sbin/container-init"
"""What a container runs. It runs /etc/first-start, if that is there, once and before all else."""

THIS_MACHINE = "host.docker.internal"

_INIT = """\
#!/bin/sh
# The first process: makes a machine of the container, then becomes systemd.
set -eu

# A tree of control groups of its own, whatever this machine mounts.
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# The kernel is everybody's: what would be set in it from here would be set for all. Only what it
# keeps apart for each container can be written.
cd /proc/sys
for own in . net fs/mqueue kernel/hostname kernel/domainname kernel/sem kernel/msg* kernel/shm*; do
    [ ! -e "$own" ] || mount --bind "$own" "$own"
done
mount -o remount,bind,ro /proc/sys
for one in /proc/sysrq-trigger /proc/irq /proc/bus; do
    [ -e "$one" ] || continue
    mount --bind "$one" "$one"
    mount -o remount,bind,ro "$one"
done

# The engine lays files of its own over these (and empties those of an image); here they become
# files of the machine again, to be kept and changed.
cd /etc
given=$(cat hosts)
if umount hosts; then
    [ -s hosts ] || cat > hosts <<'HOSTS'
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
HOSTS
    chmod 644 hosts
    sed -i '/[[:space:]]host\\.docker\\.internal$/d' hosts
    printf '%s\\n' "$given" | grep 'host\\.docker\\.internal$' >> hosts || :
fi
given=$(cat hostname)
if umount hostname && [ ! -s hostname ]; then
    printf '%s\\n' "$given" > hostname
    chmod 644 hostname
fi
# Name servers follow the engine, until somebody says otherwise.
given=$(cat resolv.conf) before=/var/lib/resolv.conf.engine
if umount resolv.conf; then
    if [ ! -s resolv.conf ] || cmp -s resolv.conf "$before"; then
        printf '%s\\n' "$given" | tee resolv.conf > "$before"
        chmod 644 resolv.conf
    fi
fi

if [ -e first-start ]; then
    sh first-start
    rm first-start
fi
cd /
exec /sbin/init
"""


def files(template: str) -> Files:
    """Path to content and mode."""
    del template  # the same for all
    return {INIT: (_INIT, 0o755)}


RECIPE = Recipe(
    packages=(
        "ca-certificates",
        "dbus",
        "iproute2",
        "iputils-ping",
        "less",
        "libpam-systemd",
        "login",
        "netbase",
        "openssh-server",
        "procps",
        "python3",  # roles and playbooks need it
        "sudo",
        "systemd-sysv",
    ),
    further={"trixie": (), "bookworm": ()},
    files=files,
    enabled=(),
    masked=(
        # The engine's: network, name servers, devices, consoles.
        "console-getty.service",
        "getty@tty1.service",
        "systemd-networkd.service",
        "systemd-networkd.socket",
        "systemd-resolved.service",
        "systemd-udevd.service",
        # None of these serves a machine that is rebuilt from its definition.
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "man-db.timer",
    ),
    finish='rm -f "$tree/etc/resolv.conf"; : > "$tree/etc/resolv.conf"\n',
    this_machine=THIS_MACHINE,
)

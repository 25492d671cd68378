"""What goes into every disk: packages, files, units. Change it, and raise ``spec.RECIPE``.

Disks for Proxmox VE differ in a few lines (``proxmox_recipe``).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

from layers.l1_image.recipe import Recipe

PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",  # with dbus: logind hears the power button, so a stop is graceful
    "linux-image-cloud-amd64",
    "login",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-boot-efi",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
    "zstd",
)
FURTHER: Mapping[str, tuple[str, ...]] = {"trixie": ("systemd-repart",), "bookworm": ()}
"""Split out of systemd after bookworm."""

MASKED = (
    # None of these serves a machine that is rebuilt from its definition; each costs boot time.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty@tty1.service",
    "man-db.timer",
    "systemd-pstore.service",
    "systemd-repart.service",  # grow-root.service does it, without modules nobody asked for
)
ENABLED = ("systemd-networkd.service", "systemd-resolved.service", "grow-root.service")

LOADER = "timeout 0\n"


def partition_uuid(template: str, partition: str) -> str:
    """The GPT's identifier of a partition: the same for every build of one template."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{template}/{partition}"))


def loader_entry(template: str, parameters: tuple[str, ...]) -> str:
    """The one entry of systemd-boot.

    ``panic=5``: the text patching of Linux can die under multi-threaded emulation; the machine
    then starts again by itself (1 boot of 18 in our measurements).
    """
    words = (
        f"root=PARTUUID={partition_uuid(template, 'root')}",
        *("rw", "console=tty0", "console=ttyS0", "net.ifnames=0", "ds=nocloud"),
        *("panic=5", "quiet", *parameters),
    )
    options = " ".join(words)
    return f"title Debian\nlinux /debian/vmlinuz\ninitrd /debian/initrd.img\noptions {options}\n"


def files(template: str) -> dict[str, tuple[str, int]]:
    """Path to content and mode."""
    root, esp = (partition_uuid(template, name) for name in ("root", "esp"))
    fstab = (
        f"PARTUUID={root} / ext4 defaults,noatime 0 1\n"
        f"PARTUUID={esp} /boot/efi vfat noauto,x-systemd.automount,umask=0077 0 0\n"
    )
    startup = (_STARTUP, 0o644)
    return {
        "/etc/hosts": (_HOSTS, 0o644),
        "/etc/fstab": (fstab, 0o644),
        "/etc/systemd/network/80-dhcp.network": (_NETWORK, 0o644),
        "/etc/systemd/system/grow-root.service": (_GROW, 0o644),
        "/etc/systemd/system/docker.service.d/startup.conf": startup,
        "/etc/systemd/system/containerd.service.d/startup.conf": startup,
        "/etc/grow-root.d/root.conf": ("[Partition]\nType=root\n", 0o644),
        "/etc/cloud/cloud.cfg.d/90-template.cfg": (_CLOUD.replace(_HERE, _OWN_NETWORK), 0o644),
        "/etc/kernel/postinst.d/zz-esp": (_ESP, 0o755),
        "/etc/initramfs/post-update.d/zz-esp": (_ESP, 0o755),
    }


_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

_NETWORK = """\
[Match]
Type=ether
Kind=!*

[Network]
DHCP=yes

[DHCPv4]
UseDomains=yes
"""

_STARTUP = """\
[Service]
# Whoever logs in comes first while the machine starts.
StartupCPUWeight=5
"""

# systemd-repart and systemd-growfs take half a second where growpart (a shell script) takes four.
_GROW = """\
[Unit]
Description=Grow the root partition and its filesystem to the disk
DefaultDependencies=no
After=systemd-remount-fs.service
Before=ssh.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/systemd-repart --dry-run=no --definitions=/etc/grow-root.d
ExecStart=/usr/lib/systemd/systemd-growfs /

[Install]
WantedBy=multi-user.target
"""

_CLOUD = """\
# Only the seed disk is asked, the network is systemd-networkd's, and only modules that a seed
# can use are loaded: without the others the first boot is seconds shorter.
datasource_list: [NoCloud]
{network}
users: []
disable_root: true
cloud_init_modules: [bootcmd, write-files, disk_setup, mounts, set_hostname, update_hostname,
  update_etc_hosts, ca-certs, users-groups, ssh]
cloud_config_modules: [set-passwords, ntp, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-vendor,
  scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message,
  power-state-change]
"""

_ESP = """\
#!/bin/sh
# The loader takes kernel and initrd from the EFI partition: put the newest there, whole.
set -eu
cd /boot/efi/debian 2>/dev/null || exit 0
kernel=$(readlink -e /vmlinuz) && initrd=$(readlink -e /initrd.img) || exit 0
cp "$kernel" vmlinuz.new && cp "$initrd" initrd.new
mv vmlinuz.new vmlinuz && mv initrd.new initrd.img
sync -f .
"""

_HERE = "{network}"
_OWN_NETWORK = "network: {config: disabled}"
_SEEDS_NETWORK = "system_info: {network: {renderers: [networkd]}}"

FINISH = """\
mkdir -p "$tree/boot/efi"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
"""
_WITHOUT_NETWORK = """\
# The seed brings no network settings, so the network need not wait for cloud-init.
sed /network-pre.target/d "$tree/usr/lib/systemd/system/cloud-init-local.service" \\
    > "$tree/etc/systemd/system/cloud-init-local.service"
"""

RECIPE = Recipe(
    packages=PACKAGES,
    further=FURTHER,
    files=files,
    enabled=ENABLED,
    masked=MASKED,
    finish=FINISH + _WITHOUT_NETWORK,
    this_machine="10.0.2.2",  # what QEMU's user network calls it
)


def proxmox_recipe(this_machine: str) -> Recipe:
    """The same for Proxmox VE: its agent, and a network that the seed may set."""
    return replace(
        RECIPE,
        packages=(*PACKAGES, "qemu-guest-agent"),
        files=_for_proxmox,
        finish=FINISH,
        this_machine=this_machine,
    )


def _for_proxmox(template: str) -> dict[str, tuple[str, int]]:
    cloud = _CLOUD.replace(_HERE, _SEEDS_NETWORK)
    return {**files(template), "/etc/cloud/cloud.cfg.d/90-template.cfg": (cloud, 0o644)}

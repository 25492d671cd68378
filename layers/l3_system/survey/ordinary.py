"""What a Debian machine has that nobody put there by hand: files its own scripts make, and so on.

Patterns are those of :mod:`fnmatch`; ``*`` also matches a slash.
"""

from __future__ import annotations

import re

from lab.model.units import parse_size

FILES = (
    # accounts, names and identity: looked at as such, or made at installation
    "/etc/.pwd.lock", "/etc/.updated", "/etc/adjtime", "/etc/group", "/etc/group-", "/etc/gshadow",
    "/etc/gshadow-", "/etc/hostname", "/etc/hosts", "/etc/localtime", "/etc/machine-id",
    "/etc/mailname", "/etc/mtab", "/etc/passwd", "/etc/passwd-", "/etc/security/opasswd",
    "/etc/shadow", "/etc/shadow-", "/etc/shells", "/etc/subgid", "/etc/subgid-", "/etc/subuid",
    "/etc/subuid-", "/etc/timezone", "/etc/machine-info", "/etc/fstab", "/etc/fstab.orig",
    # what the installer, debconf and the packages' scripts write
    "/etc/alternatives/*", "/etc/apt/apt.conf.d/00CDMountPoint", "/etc/apt/apt.conf.d/00trustcdrom",
    "/etc/apt/apt.conf.d/20auto-upgrades", "/etc/apt/apt.conf.d/70debconf",
    "/etc/apt/sources.list", "/etc/apt/sources.list~", "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list.d/ubuntu.sources", "/etc/ca-certificates.conf*", "/etc/console-setup/*",
    "/etc/default/console-setup", "/etc/default/grub.ucf-*", "/etc/default/keyboard",
    "/etc/default/locale", "/etc/default/ssh", "/etc/default/useradd", "/etc/dpkg/origins/default",
    "/etc/environment", "/etc/hosts.allow", "/etc/hosts.deny", "/etc/initramfs-tools/conf.d/resume",
    "/etc/issue*", "/etc/kernel-img.conf", "/etc/ld.so.cache", "/etc/locale.conf",
    "/etc/locale.gen", "/etc/modprobe.d/amd64-microcode-blacklist.conf", "/etc/modules",
    "/etc/network/interfaces", "/etc/networks", "/etc/nsswitch.conf",
    "/etc/pam.d/common-*", "/etc/popularity-contest.conf", "/etc/python3*",
    "/etc/rc?.d/*", "/etc/resolv.conf*", "/etc/.resolv.conf.*", "/etc/resolvconf/*",
    "/etc/ssl/certs/*", "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/sysctl.d/99-sysctl.conf", "/etc/sysctl.d/README.sysctl", "/etc/udev/hwdb.bin",
    "/etc/vconsole.conf", "/etc/X11/default-display-manager", "/etc/xml/*", "/etc/sgml/*",
    "/etc/ssh/ssh_host_*", "/etc/ssh/moduli", "/etc/dictionaries-common/*", "/etc/emacs/*",
    "/etc/fonts/conf.d/*", "/etc/apparmor.d/local/*", "/etc/apparmor.d/cache*",
    "/etc/pam.d/*.pam-old", "/etc/printcap", "/etc/aliases", "/etc/aliases.db",
    "/etc/NetworkManager/*.state",
    "/etc/brlapi.key", "/etc/ImageMagick*", "/etc/java-*", "/etc/mysql/my.cnf",
    "/etc/mysql/debian.cnf", "/etc/nginx/sites-enabled/default", "/etc/apache2/mods-enabled/*",
    "/etc/apache2/conf-enabled/*", "/etc/apache2/sites-enabled/000-default.conf",
    "/etc/php/*/conf.d/*", "/etc/php/*/mods-available/*",
    "/etc/cni/*", "/etc/docker/key.json",
    # links that enabling a unit makes: units are looked at as such
    "/etc/systemd/*.wants/*", "/etc/systemd/*.requires/*", "/etc/systemd/*.upholds/*",
    "/etc/systemd/system/dbus-*.service", "/etc/systemd/system/display-manager.service",
    "/etc/systemd/system/syslog.service", "/etc/systemd/system/sshd.service",
    "/etc/systemd/system/iscsi.service", "/etc/systemd/system/vmtoolsd.service",
    # cloud-init and its like
    "/etc/cloud/*", "/etc/netplan/50-cloud-init.yaml", "/etc/netplan/90-default.yaml",
    "/etc/network/interfaces.d/50-cloud-init*", "/etc/ssh/sshd_config.d/50-cloud-init.conf",
    "/etc/sudoers.d/90-cloud-init-users", "/etc/systemd/network/10-cloud-init-*",
    # sockets' and caches' leftovers below /usr/local
    "/usr/local/lib/python*", "/usr/local/share/ca-certificates/.keep", "/usr/local/share/man*",
    "/usr/local/man*", "/usr/local/share/fonts/.uuid", "/usr/local/share/*/.gitkeep",
)  # fmt: skip
MADE_FROM = {
    "/etc/motd": "/usr/share/base-files/motd",
    "/etc/profile": "/usr/share/base-files/profile",
    "/etc/inputrc": "/usr/share/readline/inputrc",
}
"""Files that a package's script makes once, and what it makes them from: edits show."""

OURS: dict[str, tuple[str, ...]] = {
    "sysctl": ("/etc/sysctl.d/99-zz-strata-{}.conf",),
    "wireguard": ("/etc/systemd/network/05-strata-{}.*", "/etc/wireguard/{}.*"),
    "firewall": ("/etc/nftables.conf",),
    "repository": ("/etc/apt/sources.list.d/{}.*", "/etc/apt/keyrings/{}.*"),
    "certificate_authority": ("/usr/local/share/ca-certificates/*{}*", "/etc/ssl/certs/*{}*"),
}
"""By kind: the files that stand for a declared thing of that name."""

PACKAGES = (
    # what an installer or an image maker puts on a machine so that it starts and can be reached
    "linux-image-*", "linux-headers-*", "linux-modules-*", "linux-generic*", "linux-base*",
    "raspi-firmware", "grub*", "shim-*", "efibootmgr", "systemd*", "libsystemd*", "libpam-systemd",
    "libnss-*", "init", "udev", "dbus*", "firmware-*", "intel-microcode", "amd64-microcode",
    "openssh-server", "openssh-client", "sudo", "locales*", "task-*", "tasksel*", "cloud-*",
    "console-setup*", "keyboard-configuration", "kbd", "initramfs-tools*", "ca-certificates",
    "debian-*", "ubuntu-*", "discover*", "installation-report", "laptop-detect", "os-prober",
    "popularity-contest", "eject", "ifupdown*", "isc-dhcp-client", "dhcpcd*", "netplan*",
    "networkd-dispatcher", "python3", "python3-minimal", "apt-listchanges", "apt-utils",
    "util-linux*", "manpages", "man-db", "fdisk", "gdisk", "parted", "e2fsprogs", "dosfstools",
    "lvm2", "mdadm", "cryptsetup*", "busybox*", "zstd", "xz-utils", "netbase", "iproute2",
    "iputils-ping", "procps", "psmisc", "tzdata", "usbutils", "pciutils", "acpi*", "hdparm",
    "wamerican", "wireless-*", "wpasupplicant", "snapd", "fwupd*", "unattended-upgrades",
)  # fmt: skip
PRIORITIES = frozenset({"required", "important", "standard"})
"""Of packages that every Debian installation has."""

UNITS = (
    "autovt@.service", "getty@*.service", "serial-getty@*.service", "console-getty.service",
    "systemd-*", "dbus*", "remote-fs.target", "apt-daily*", "e2scrub*", "fstrim.timer",
    "man-db.timer", "dpkg-db-backup.timer", "ssh*", "cloud-*", "networking.service",
    "ifupdown-*", "user@*.service", "snap*", "ua-*", "ubuntu-*", "finalrd.service",
    "*.scope", "*.slice", "*.swap", "*.automount",
)  # fmt: skip
LISTENERS = (
    "sshd", "sshd-session", "systemd", "systemd-*", "dhclient", "dhcpcd", "init", "chronyd",
    "ntpd", "docker-proxy",
)  # fmt: skip
"""Programs of the machine itself; a container's port is told with the container."""

MOUNTED = (
    "/", "/boot", "/boot/*", "/efi", "/usr", "/var", "/tmp",  # noqa: S108 (a mount point)
    "/home", "/proc*", "/sys*", "/dev*",
    "/run*", "/snap/*", "/media/cdrom*", "none", "swap", "/var/lib/docker*", "/var/lib/containerd*",
    "/var/lib/lxcfs",
)  # fmt: skip
FILESYSTEMS = re.compile(
    r"^(ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|vfat|exfat|ntfs3?|nfs4?|cifs|smb3?|9p|ceph|virtiofs"
    r"|glusterfs|fuse\.(?!lxcfs|portal|gvfs)\S+)$"
)
"""Types that hold somebody's data; all others the kernel or systemd mounts by itself."""
NETWORK = re.compile(r"^(nfs4?|cifs|smb3?|9p|ceph|virtiofs|glusterfs|fuse\.\S+)$")

DATA_ROOTS = ("/srv/*", "/opt/*", "/var/www/*", "/home/*", "/root", "/var/lib/*", "/mnt/*",
              "/media/*")  # fmt: skip
NOT_DATA = tuple(
    f"/var/lib/{name}"
    for name in ("apt", "aptitude", "cloud", "command-not-found", "containerd", "dkms", "docker",
                 "dpkg", "flatpak", "fwupd", "ghc", "locales", "man-db", "mlocate", "plocate",
                 "snapd", "strata", "swcatalog", "systemd", "ubuntu-advantage", "ucf")
)  # fmt: skip
MEANT_FOR_DATA = ("/srv/*", "/opt/*", "/var/www/*")
"""Folders that exist for somebody's data: little is worth telling there."""
MUCH = parse_size("100MiB")
LITTLE = parse_size("1MiB")

GROUPS_OF_POWER = frozenset({"adm", "disk", "docker", "incus-admin", "kvm", "libvirt", "lxd",
                             "root", "shadow", "sudo", "wheel"})  # fmt: skip

OFFICIAL = re.compile(r"/(debian|debian-security|debian-archive|ubuntu|ubuntu-ports|raspbian)/?$")
"""How the address of a distribution's own archive, or of a mirror of it, ends."""

"""How a tree is finished: what every kind of template needs besides what its persona asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Files = Mapping[str, tuple[str, int]]
"""Path to content and mode."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One kind of template.

    Attributes:
        packages: In every template, whatever its suite.
        further: Suite to the packages that only it has.
        files: Template's name to the files that are put into it.
        enabled: Units.
        masked: Units.
        finish: Shell lines that run when the files are there, with ``$tree`` and ``inside``.
        this_machine: What the machine's loopback is called from inside.
    """

    packages: tuple[str, ...]
    further: Mapping[str, tuple[str, ...]]
    files: Callable[[str], Files]
    enabled: tuple[str, ...]
    masked: tuple[str, ...]
    finish: str
    this_machine: str

    @property
    def script(self) -> str:
        """The whole of what finishes a tree; run in the folder of the build."""
        return f"{_BEGIN}{self.finish}{_END}"


_BEGIN = """\
# Runs as root of its own namespaces, in the folder of the build.
set -eu
umask 022
tree=tree
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$tree" "$@"; }
mount --rbind /dev "$tree/dev" 2>/dev/null || :

rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id" "$tree/etc/hostname"
rm -f "$tree/etc/apt/apt.conf.d/99mmdebstrap" "$tree"/var/log/*.log "$tree"/var/log/apt/*
: > "$tree/etc/machine-id"
if [ -e overlay/etc/apt/sources.list.d/debian.sources ]; then
    rm -f "$tree/etc/apt/sources.list" "$tree"/etc/apt/sources.list.d/*
fi
# Unpacked inside the tree: its absolute links must not lead to files of this machine.
tar -C overlay --owner=0 --group=0 --numeric-owner -c . |
    inside tar -x -C / --keep-directory-symlink --no-overwrite-dir --same-permissions

"""

_END = """\
if [ -n "$ENABLED" ]; then inside systemctl --quiet enable $ENABLED; fi
inside systemctl --quiet mask $MASKED
if [ -d overlay/usr/local/share/ca-certificates ]; then inside update-ca-certificates >&2; fi
inside systemctl list-unit-files --no-legend --no-pager --full > units.txt
umount -R -l "$tree/dev" 2>/dev/null || :
touch "$tree/etc/.updated" "$tree/var/.updated"
du -s --block-size=1 "$tree" | cut -f1 > size.txt
"""

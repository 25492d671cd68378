"""Pure: the seed that cleans a machine's disk from within, in one boot without a network.

For disks that nobody can reach but by booting them. cloud-init runs the script before any service
of the machine's own is started; it powers the machine off when all of it succeeded, and in no other
case. Until then the disk starts nothing but a rescue shell: one that was cut off is of no use to
anybody, and gives nothing away.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from layers.l1_image.identity import LOGS, MACHINE_ID

_ROOT = "/run/strata-root"
_PLAIN = re.compile(r"^/[^\x00-\x1f\x7f]+$")


def seed(instance: str, remove: Iterable[str]) -> Mapping[str, str]:
    """The files of the CD. ``remove``: absolute paths, ``*`` in any step of them.

    Raises ValueError for a path that holds a line break, or leads out of its place.
    """
    config = {"bootcmd": [["sh", "-c", script(remove)]]}
    return {
        "user-data": "#cloud-config\n" + json.dumps(config, indent=1) + "\n",
        "meta-data": json.dumps({"instance-id": instance}) + "\n",
        "network-config": json.dumps({"config": "disabled"}) + "\n",
    }


def script(remove: Iterable[str]) -> str:
    """What it runs, for sh."""
    words = [glob for path in remove for glob in _globs(path)]
    listed = " \\\n".join(f'"$r"{glob}' for glob in words) or "/dev/null/none"
    logs = " ".join(f'"$r"{_quoted(path)}' for path in LOGS)
    return (
        _BEGIN.replace("@root@", _ROOT)
        + f'every() {{ "$@" \\\n{listed}\n}}\n'
        + _CLEAN.replace("@logs@", logs).replace("@id@", _quoted(MACHINE_ID))
    )


def _globs(path: str) -> Iterator[str]:
    """A pattern for sh: with names that begin with a dot, as in the other driver."""
    steps = path.split("/")[1:]
    if not _PLAIN.match(path) or not all(steps) or {".", ".."} & set(steps):
        raise ValueError(f"{path!r} is not an absolute path")
    variants = [""]
    for step in steps:
        names = [_quoted(step)]
        if step.startswith("*"):
            names += [f".[!.]{_quoted(step)}", f"..?{_quoted(step)}"]
        variants = [f"{before}/{name}" for before in variants for name in names]
    yield from variants


def _quoted(text: str) -> str:
    """For sh, with ``*`` alone left to mean something."""
    return "*".join(shlex.quote(piece) if piece else "" for piece in text.split("*"))


_BEGIN = """\
PATH=/usr/sbin:/usr/bin:/sbin:/bin
r=@root@ bad=
say() { for to in /dev/console /dev/tty1; do echo "strata: $*" >"$to"; done 2>/dev/null; }
stay() { say "NOT cleaned, so it stays on: $*"; while :; do sleep 3600; done; }
say "cleaning this disk"
( # whatever ends this early, even a mistake in it, the machine does not start its services
fs=$(awk '$2 == "/" { kind = $3 } END { print kind }' /proc/mounts)
[ "$fs" = ext4 ] || stay "its root filesystem is $fs, and only ext4 can be cleaned"
# Bare: what lies below other mounts is seen, and what is mounted is not.
mkdir -p "$r" && mount --bind / "$r" || stay "its root cannot be mounted twice"
target="$r/etc/systemd/system/default.target" kept="$r/etc/systemd/system/default.target.strata"
mkdir -p "${target%/*}"
if [ ! -L "$kept" ] && [ -L "$target" ]; then mv "$target" "$kept" || stay "mv failed"; fi
ln -sfn /usr/lib/systemd/system/emergency.target "$target" || stay "ln failed"
sync
swapoff -a
timeout 60 journalctl --relinquish-var >/dev/null 2>&1
gone() { for p do if [ -e "$p" ] || [ -L "$p" ]; then rm -rf --one-file-system -- "$p"; fi; done; }
look() { for p do if [ -e "$p" ] || [ -L "$p" ]; then bad="$bad ${p#"$r"}"; fi; done; }
"""

_CLEAN = """\
swap() { awk '$1 ~ /^\\// && $1 !~ /^\\/dev\\// && $3 == "swap" { print $1 }' "$r/etc/fstab"; }
for round in 1 2; do
  every gone
  swap | while read -r p; do gone "$r$p"; done
  find @logs@ -xdev -type f -exec truncate -s 0 {} +
  find @logs@ -xdev ! -type d -delete
done
# What is still open keeps its blocks until the machine is off, and then they are free.
for fd in /proc/[0-9]*/fd/*; do
  case $(readlink "$fd") in
    /var/*\\ \\(deleted\\) | /home/*\\ \\(deleted\\) | /root/*\\ \\(deleted\\) | \
    /etc/*\\ \\(deleted\\) | /srv/*\\ \\(deleted\\) | /opt/*\\ \\(deleted\\)) true >"$fd" ;;
  esac
done 2>/dev/null
rm -f "$r"@id@ && true >"$r"@id@ && chmod 444 "$r"@id@ || stay "its machine-id stays"
every look
for p in $(swap); do look "$r$p"; done
[ -z "$bad" ] || stay "these are still there:$bad"
left=$(find @logs@ -xdev ! -type d -size +0)
[ -z "$left" ] || stay "these are still there: $left"
[ ! -s "$r"@id@ ] || stay "it has a machine-id"
if [ -n "$(swap)" ]; then # or the new machine would start with a failed unit
  awk '!($1 ~ /^\\// && $1 !~ /^\\/dev\\// && $3 == "swap")' "$r/etc/fstab" >"$r/etc/fstab.new" &&
    chmod 644 "$r/etc/fstab.new" && mv "$r/etc/fstab.new" "$r/etc/fstab" || stay "its fstab stays"
fi
# Nothing that was removed may be read back: all that is free is written over, then given back.
device=$(awk '$2 == "/" { name = $1 } END { print name }' /proc/mounts)
spare="/sys/fs/ext4/$(basename "$(readlink -f "$device")")/reserved_clusters"
[ ! -w "$spare" ] || echo 0 >"$spare"
say "writing over what is free"
sync
dd if=/dev/zero of="$r/.strata-fill" bs=1M 2>/dev/null
sync
dd if=/dev/zero of="$r/.strata-fill" bs=4k oflag=append conv=notrunc 2>/dev/null
sync
free=$(($(stat -f -c '%f * %S / 1048576' "$r")))
[ "$free" -le 1 ] || stay "$free MiB could not be written over"
rm -f "$r/.strata-fill" && sync || stay "sync failed"
fstrim "$r" 2>/dev/null
rm -f "$target"
if [ -L "$kept" ]; then mv "$kept" "$target" || stay "mv failed"; fi
sync
say "cleaned"
umount "$r"
echo u >/proc/sysrq-trigger
for round in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  grep -q ' / ext4 ro' /proc/mounts && break
done
echo o >/proc/sysrq-trigger
sleep 60
poweroff -ff
stay "it cannot power itself off"
)
stay "its words ended too early"
"""

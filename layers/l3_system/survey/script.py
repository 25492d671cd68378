"""The one script that looks at a whole machine. It only reads, and its slow pieces are bounded."""

from __future__ import annotations

from collections.abc import Iterable

from layers.l3_system.kinds.kind import quote
from layers.l3_system.kinds.script import probing
from layers.l3_system.survey.ordinary import DATA_ROOTS, MADE_FROM, NOT_DATA

DEADLINE = 90.0
"""Seconds for the whole script; its slow pieces together take at most 60."""

# What is bounded ends with status 124: the answer says so, it is never silently short.
_BOUNDED = """bounded() {
  t=$1; shift
  if command -v timeout >/dev/null 2>&1; then set -- timeout "$t" "$@"; fi
  if command -v nice >/dev/null 2>&1; then set -- nice -n 19 "$@"; fi
  "$@"
}
"""

_SYSTEM = """mark release; show /etc/os-release
for f in /run/systemd/container /run/.containerenv /.dockerenv; do
  [ ! -e "$f" ] || mark container; done
mark hostname; [ ! -r /etc/hostname ] || show /etc/hostname; show /proc/sys/kernel/hostname
mark hosts; [ ! -r /etc/hosts ] || show /etc/hosts
mark passwd; show /etc/passwd
mark group; show /etc/group
mark fstab; [ ! -r /etc/fstab ] || show /etc/fstab
mark mounts; show /proc/self/mounts
mark zone; readlink /etc/localtime; [ ! -r /etc/timezone ] || show /etc/timezone
mark locale; [ ! -r /etc/default/locale ] || show /etc/default/locale
mark locale-link; readlink /etc/default/locale
mark locale-gen; [ ! -r /etc/locale.gen ] || grep -v '^#' /etc/locale.gen
mark modules; [ ! -r /etc/modules ] || show /etc/modules
mark sources; [ ! -r /etc/apt/sources.list ] || show /etc/apt/sources.list
while IFS=: read -r n x u g c h s; do
  for f in "$h/.ssh/authorized_keys" "$h/.ssh/authorized_keys2"; do
    [ ! -f "$f" ] || { mark keys "$n"; show "$f"; }; done
done </etc/passwd
"""

_PACKAGES = """if command -v dpkg-query >/dev/null 2>&1; then
  mark packages
  dpkg-query -W -f '${Package}\\t${db:Status-Abbrev}\\t${Priority}\\t${Essential}\\t${Version}\
\\t${Pre-Depends}\\t${Depends}\\t${Provides}\\n'
  mark automatic; [ ! -r /var/lib/apt/extended_states ] || \
    awk '/^Package:/ {p = $2} /^Auto-Installed: 1/ {print p}' /var/lib/apt/extended_states
  mark changed; dpkg-query -W -f '${Conffiles}\\n' |
    sed -n 's/^ \\(\\/.*\\) \\([0-9a-f]\\{32\\}\\)$/\\2  \\1/p' |
    bounded 15 md5sum -c --quiet 2>/dev/null
  if [ -r /var/lib/ucf/hashfile ]; then
    mark ucf; show /var/lib/ucf/hashfile
    mark changed; bounded 5 md5sum -c --quiet /var/lib/ucf/hashfile 2>/dev/null
  fi
  mark brought; cut -d: -f1 /etc/passwd /etc/group | grep -howsF -f - \
    /var/lib/dpkg/info/*.postinst /var/lib/dpkg/info/*.preinst /usr/lib/sysusers.d/*.conf \
    /usr/share/base-passwd/*.master | sort -u
  mark made-from; MADE_FROM
fi
"""

# The lists of dpkg first, then everything that is there: awk keeps what no package brought. On
# older releases a file of /usr/bin stands as /bin in its package's list.
_UNOWNED = """if [ -d /var/lib/dpkg/info ]; then
  mark unowned
  { grep -hE '^/(etc|usr/local|opt)/' /var/lib/dpkg/info/*.list; echo; bounded 15 find FIND \
    \\( -type f -o -type l \\) -printf '%y\\t%s\\t%m\\t%u\\t%g\\t%l\\t%p\\n' 2>/dev/null; } |
    awk -F '\\t' 'there {if (!($7 in own)) print; next} $0 == "" {there = 1; next} {own[$0]}'
  mark setuid
  s=$(bounded 15 find SETUID -xdev -path /var/lib/docker -prune -o -perm /6000 -type f -print \
    2>/dev/null)
  [ -z "$s" ] || { printf '%s\\n' "$s"
    mark setuid-owned; printf '%s\\n' "$s" | sed 'p;s,^/usr,,' |
      grep -hxF -f - /var/lib/dpkg/info/*.list; }
fi
"""

_RUNNING = """if command -v systemctl >/dev/null 2>&1 && [ -d /run/systemd/system ]; then
  mark unit-files; systemctl list-unit-files --no-legend --no-pager --full 2>/dev/null
  mark units; systemctl list-units --type=service,socket,timer,path,mount --all --no-legend \
    --plain --no-pager --full 2>/dev/null
fi
if command -v ss >/dev/null 2>&1; then
  l=$(ss -Hlntup 2>/dev/null); mark ports; printf '%s\\n' "$l"
  for p in $(printf '%s\\n' "$l" | grep -o 'pid=[0-9]*' | sort -u); do
    p=${p#pid=}; mark cgroup "$p"; [ ! -r "/proc/$p/cgroup" ] || show "/proc/$p/cgroup"
  done
fi
"""

_SIZES = """far=$(awk '$3 ~ /^(nfs|cifs|smb|fuse|9p|ceph|gluster|autofs|proc|sysfs)/ {print $2}' \
/proc/self/mounts)
set --
for d in ROOTS; do
  [ -d "$d" ] && [ ! -L "$d" ] || continue
  case "$nl$far$nl" in *"$nl$d$nl"*) continue ;; esac
  case $d in NOT_DATA) continue ;; esac
  set -- "$@" "$d"
done
for d in /*; do
  case $d in FHS) continue ;; esac
  [ -d "$d" ] && [ ! -L "$d" ] || continue
  case "$nl$far$nl" in *"$nl$d$nl"*) continue ;; esac
  set -- "$@" "$d"
done
mark sizes
[ $# = 0 ] || bounded 20 du -xsk EXCLUDE -- "$@" 2>/dev/null
mark sizes-end $?
"""

_FHS = (
    "/bin|/boot|/dev|/efi|/etc|/home|/lib|/lib32|/lib64|/libx32|/lost+found|/media|/mnt|/opt|/proc"
    "|/root|/run|/sbin|/srv|/sys|/tmp|/usr|/var"
)
_FIND = "/etc /usr/local /var/spool/cron/crontabs -xdev -path /etc/ssl/certs -prune -o"
_SETUID = "/usr /opt /home /root /srv /var"


def script(nonce: str, kept: Iterable[str]) -> str:
    """The whole look. ``kept`` are folders whose content is accounted for: not measured."""
    exclude = " ".join(quote(f"--exclude={path}") for path in sorted(kept))
    sizes = (
        _SIZES.replace("ROOTS", " ".join(DATA_ROOTS))
        .replace("NOT_DATA", "|".join(NOT_DATA))
        .replace("FHS", _FHS)
        .replace("EXCLUDE", exclude)
    )
    made = "\n  ".join(
        f"[ ! -f {path} ] || [ ! -f {origin} ] || cmp -s {path} {origin} || echo {path}"
        for path, origin in MADE_FROM.items()
    )
    packages = _PACKAGES.replace("MADE_FROM", made)
    unowned = _UNOWNED.replace("FIND", _FIND).replace("SETUID", _SETUID)
    return probing(nonce, [_BOUNDED + _SYSTEM, packages, unowned, _RUNNING, sizes])

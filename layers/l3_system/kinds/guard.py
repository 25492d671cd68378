"""The dead man's timer, as shell: arm it, apply under it, let a new connection settle it.

``/var/lib/strata/guard`` on the host holds what was there before and the script that puts it back;
it comes into being as a whole, by one rename. Its mark ``armed`` becomes ``confirmed`` or
``reverting`` by a rename too, so that exactly one of the two happens. Clocks do not matter: times
are seconds since boot.
"""

from __future__ import annotations

from collections.abc import Sequence

from layers.l3_system.kinds.guard_restore import REVERT
from layers.l3_system.kinds.kind import Step, quote
from layers.l3_system.kinds.lifeline import UNITS, Area, Lifeline
from layers.l3_system.kinds.script import applying

GRACE = 60.0
"""Seconds that reverting and logging in again may take after the window."""

_NAMES = """lib=/var/lib/strata; G=$lib/guard; R=/run/strata-guard
nl='
'
boot=/etc/systemd/system/strata-guard-boot.service
wants=/etc/systemd/system/sysinit.target.wants
refuse() { echo "$*" >&2; exit 1; }
now() { IFS=. read -r up rest </proc/uptime; }
"""

PROBE = f"""if [ -r $lib/guard/until ]; then
  read -r at id <$lib/guard/until; read -r this </proc/sys/kernel/random/boot_id
  IFS=. read -r up rest </proc/uptime
  [ "$id" != "$this" ] || [ $((at + {GRACE:.0f})) -lt "$up" ] || mark guard $((at - up))
fi"""
"""A fragment for observing: tells of a guard of this boot, and the seconds it has left."""

_ARM = """umask 077
{ mkdir -p -m 700 $lib && ( : >>$lib/guard.lock ); } 2>/dev/null ||
  refuse "nothing can be written to $lib"
exec 9>>$lib/guard.lock
! command -v flock >/dev/null || flock -w 10 9 || refuse "another run is about to change it"
now
if [ -r $G/until ]; then
  read -r at id <$G/until; read -r this </proc/sys/kernel/random/boot_id
  [ "$id" != "$this" ] || [ $((at + GRACE)) -lt "$up" ] ||
    refuse "a change of another run is being tried there: it is over in $((at - up)) s"
fi
rm -rf $lib/guard.new $G $R || refuse "nothing can be removed in $lib"
mkdir $lib/guard.new || refuse "nothing can be written to $lib"
trap 'rm -rf $lib/guard.new' EXIT
cd $lib/guard.new || exit 1
set -e
printf '%s\\n' "$nonce" >nonce; : >settings
"""

# Paths are kept without their first slash, as tar wants them.
_SAVE_FILES = """: >absent; : >trees; : >plain; set -f; IFS="$nl"
missing() {
  p=$1; while [ ! -e "/${p%/*}" ] && [ "${p%/*}" != "$p" ]; do p=${p%/*}; done
  printf '%s\\n' "$p" >>absent
}
for p in $trees; do
  if [ -e "/$p" ] || [ -L "/$p" ]; then ( cd / && find "$p" -xdev ! -type s ) >>trees
  else missing "$p"; fi
done
for p in $plain; do
  if [ -d "/$p" ]; then printf '%s\\n' "$p" >>plain; else missing "$p"; fi
done
set -- $(cat trees plain)
[ $# = 0 ] || tar -C / --numeric-owner --no-recursion -cf files.tar -- "$@" ||
  refuse "what is there now could not be saved"
unset IFS; set +f
printf '%s\\n' "$roots" >roots
"""

_SAVE_UNITS = """: >units
if [ -d /run/systemd/system ]; then
  systemctl show -p Id,LoadState,ActiveState -- UNITS >units.raw || :
  while IFS== read -r k v; do
    case $k in Id) i=$v ;; LoadState) s=$v ;; ActiveState) a=$v ;; *) i=; s=; a=; continue ;; esac
    [ -z "$i" ] || [ -z "$s" ] || [ -z "$a" ] || {
      [ "$s" = not-found ] || printf '%s %s\\n' "$i" "$a" >>units; i=; s=; a=; }
  done <units.raw
  sort -u -o units units
fi
"""

_SAVE_NETWORK = """if command -v ip >/dev/null; then
  ip -o link show >links; ip -o addr show >addresses
  ( cd /proc/sys && grep -H '' net/ipv6/conf/*/disable_ipv6 | sed 's/:/ /' ) >>settings || :
  ip -4 route show >routes4 2>/dev/null || :; ip -6 route show >routes6 2>/dev/null || :
fi
"""

_SAVE_RULES = """if command -v nft >/dev/null; then
  nft list ruleset >rules.all || refuse "the firewall's rules could not be read"
  awk "$own_tables" rules.all >rules
  { sed -n 's/^\\(table [^{]*\\){.*/delete \\1/p' rules; cat rules; } >rules.try
  nft -c -f rules.try || refuse "the firewall's rules of now could not be loaded again"
fi
for v in '' 6; do
  ! command -v ip${v}tables-save >/dev/null || ip${v}tables-save >iptables$v 2>/dev/null || :
done
"""

# nft writes down tables of iptables that it cannot read back; iptables keeps those.
_OWN_TABLES = """own_tables='/^# Warning: table .* is managed by iptables/ { skip = 1; next }
/^table / { hide = skip; skip = 0 } !hide'
"""

_SAVE_REST = """for p in $settings; do
  [ ! -r "/proc/sys/$p" ] || printf '%s %s\\n' "$p" "$(cat "/proc/sys/$p")" >>settings
done
: >mounts; for p in $mounts; do
  grep -q " /$p " /proc/mounts || printf '%s\\n' "/$p" >>mounts
done
printf '%s' "$revert" >revert
"""

_CLAIM = """read -r this </proc/sys/kernel/random/boot_id; now
printf '%s %s\\n' $((up + WINDOW)) "$this" >until
rm -f $lib/reverted
sync -f . 2>/dev/null || sync
trap - EXIT
cd $lib; mv guard.new guard
undone() { rm -rf $G $boot $wants/${boot##*/}; refuse "$@"; }
if [ -d /run/systemd/system ]; then
  mkdir -p -m 755 $wants || undone "nothing can be written to /etc"
  printf '%s' "$unit" >$boot && chmod 644 $boot && ln -sf "$boot" $wants/ ||
    undone "nothing can be written to /etc"
  sync -f $boot 2>/dev/null || sync
  systemctl stop strata-guard.timer 2>/dev/null || :
  systemctl reset-failed strata-guard.service 2>/dev/null || :
  systemd-run -q --collect --unit=strata-guard --on-active=WINDOW \\
    --timer-property=AccuracySec=100ms \\
    --description='Reverts a change of Strata that nobody confirmed' /bin/sh $G/revert ||
    undone "no timer could be started"
else
  setsid sh -c 'sleep WINDOW; exec sh /var/lib/strata/guard/revert' \\
    </dev/null >/dev/null 2>&1 9>&- & printf '%s\\n' $! >$G/sleeper
fi
: >$G/armed || undone "nothing can be written to $lib"
sync -f $G 2>/dev/null || sync
"""

_BOOT_UNIT = """[Unit]
Description=Reverts a change of Strata that nobody confirmed before the reboot
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target network-pre.target nftables.service systemd-networkd.service ssh.socket
Wants=network-pre.target
ConditionPathExists=/var/lib/strata/guard

[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/strata/guard/revert boot

[Install]
WantedBy=sysinit.target
"""

# It runs to its end whatever becomes of the connection; what it says is read later.
_DETACHED = """umask 077; rm -rf $R; mkdir $R || refuse "nothing can be written to /run"
dd bs=SIZE count=1 iflag=fullblock of=$R/apply 2>/dev/null; cat >$R/in
[ -e $G/armed ] || refuse "the guard is gone: nothing was changed"
umask 022
setsid sh -c 'echo $$ >$1/pid; sh $1/apply <$1/in >$1/out 2>$1/err; echo $? >$1/status.new
mv $1/status.new $1/status' sh $R </dev/null >/dev/null 2>&1 &
wait $!
cat $R/out; cat $R/err >&2
[ -s $R/status ] || refuse "it was ended half-way"
read -r status <$R/status; exit "$status"
"""

_CHECKS = {
    Area.LOGIN: "! command -v sshd >/dev/null || sshd -t\n",
    Area.RIGHTS: """! command -v visudo >/dev/null || visudo -cf /etc/sudoers ||
  { echo "sudo cannot read its rules any more" >&2; exit 1; }
""",
    Area.FIREWALL: """! systemctl -q is-enabled nftables.service 2>/dev/null ||
  nft -c -f /etc/nftables.conf
""",
}
_LIVE = {
    Area.LOGIN: """if [ -d /run/systemd/system ]; then
  for u in ssh sshd; do ! systemctl -q is-active $u.service || { systemctl restart $u.service; break; }; done
elif [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; sleep 1
fi
""",  # noqa: E501 (shell)
    Area.FIREWALL: """! systemctl -q is-enabled nftables.service 2>/dev/null ||
  nft -f /etc/nftables.conf
""",
    Area.NETWORK: """settled() {
  for f in /run/systemd/netif/links/*; do
    case $(cat "$f" 2>/dev/null) in *ADMIN_STATE=configuring*|*ADMIN_STATE=pending*) return 1 ;; esac
  done
}
if ! [ -d /run/systemd/system ]; then :
elif systemctl -q is-active systemd-networkd.service; then
  if [ -d /etc/netplan ] && command -v netplan >/dev/null; then netplan apply; fi
  # what is there already it never makes anew by itself
  remade=; for n in NETDEVS; do ! ip link delete "$n" 2>/dev/null || remade=1; done
  if [ "$remade" ]; then systemctl restart systemd-networkd.service; else networkctl reload; fi
  # it answers before it is done; a connection that comes in between would prove nothing
  sleep 1; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do settled && break; sleep 1; done
elif systemctl -q is-active networking.service; then systemctl restart networking.service
fi
""",  # noqa: E501 (shell)
}

_SETTLE = """[ -d /run/systemd/system ] && has_systemd=1 || has_systemd=
n=; [ ! -r $G/nonce ] || read -r n <$G/nonce
if [ "$n" = "$nonce" ]; then
  if [ -e $G/reverting ]; then echo reverting
  elif [ ! -s $R/status ]; then echo applying
  elif read -r s <$R/status; [ "$s" != 0 ]; then echo failed
  elif mv $G/armed $G/confirmed 2>/dev/null; then
    if [ "$has_systemd" ]; then systemctl stop strata-guard.timer 2>/dev/null
    else read -r p <$G/sleeper && kill "-$p"; fi
    rm -f $boot $wants/${boot##*/}; sync -f $G 2>/dev/null || sync
    rm -rf $G $R $lib/guard.lock; echo confirmed
    case $has_systemd$(systemctl show -p LoadState ${boot##*/} 2>/dev/null) in
      1*=loaded) systemctl daemon-reload ;;
    esac
  else echo reverting; fi
else
  n=; [ ! -r $lib/reverted ] || read -r n <$lib/reverted
  if [ "$n" != "$nonce" ]; then echo lost
  else echo reverted; sed 1d $lib/reverted; rm -f $lib/reverted; fi
fi
exit 0
"""

UNDO = f"{_NAMES}[ ! -e $G/revert ] || setsid sh $G/revert </dev/null >/dev/null 2>&1 & wait\n"
"""Reverts at once, over a connection that still works."""


def arming(nonce: str, window: int, line: Lifeline) -> str:
    """Shell that saves what is there and starts the timer; where it fails nothing was changed."""
    inputs = {
        "nonce": nonce,
        "trees": _relative(line.trees),
        "plain": _relative(line.plain),
        "roots": _relative(line.trees),
        "settings": "\n".join(line.settings),
        "mounts": _relative(line.mounts),
        "revert": REVERT,
        "unit": _BOOT_UNIT,
    }
    pieces = [_NAMES, *(f"{name}={quote(text)}\n" for name, text in inputs.items()), _OWN_TABLES]
    pieces += [_ARM.replace("GRACE", f"{GRACE:.0f}"), _SAVE_FILES]
    if line.units:
        pieces.append(_SAVE_UNITS.replace("UNITS", quote(*line.units)))
    if Area.NETWORK in line.areas:
        pieces.append(_SAVE_NETWORK)
    if Area.FIREWALL in line.areas:
        pieces.append(_SAVE_RULES)
    kept = " ".join(UNITS[Area.FIREWALL])
    pieces += [_SAVE_REST, f"echo {quote(kept)} >kept\n"]
    pieces.append(_CLAIM.replace("WINDOW", str(window)))
    return "".join(pieces)


def _relative(paths: Sequence[str]) -> str:
    return "\n".join(path.lstrip("/") for path in paths)


def live(line: Lifeline) -> str:
    """Shell that makes what was changed bite now rather than at the next boot."""
    links = quote(*line.links)
    areas = [area for area in Area if area in line.areas]
    return "".join(_LIVE.get(area, "").replace("NETDEVS", links) for area in areas)


def whole(steps: Sequence[Step], line: Lifeline) -> list[Step]:
    """The steps, with what others make of them checked before the first program starts."""
    checks = "".join(_CHECKS.get(area, "") for area in Area if area in line.areas)
    starts = (
        i for i, s in enumerate(steps) if s.changes[0].what.startswith(("service ", "timer "))
    )
    at = next(starts, len(steps))
    return [*steps[:at], Step((), checks or ":"), *steps[at:], Step((), live(line) or ":")]


def trying(nonce: str, steps: Sequence[Step]) -> tuple[str, bytes]:
    """Shell that carries out :func:`whole` steps under the armed timer, and what it reads."""
    script, stdin = applying(nonce, steps)
    inner = script.encode()
    return f"{_NAMES}{_DETACHED.replace('SIZE', str(len(inner)))}", inner + stdin


def settling(nonce: str) -> str:
    """Shell for a new connection: confirms, and tells how it stands in one word.

    ``confirmed``, ``reverted`` (lines about it follow), ``reverting``, ``applying``, ``failed``
    (a step failed: nothing is confirmed), ``lost`` (there is no trace of it).
    """
    return f"{_NAMES}nonce={nonce}\n{_SETTLE}"

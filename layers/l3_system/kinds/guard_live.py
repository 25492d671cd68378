"""Making a guarded change bite now: what others read is checked, then they are told of it."""

from __future__ import annotations

from collections.abc import Sequence

from layers.l3_system.kinds.kind import Step, quote
from layers.l3_system.kinds.lifeline import Area, Lifeline

_CHECKS = {
    # behind a socket sshd's own folder is there only while it runs
    Area.LOGIN: """if command -v sshd >/dev/null; then
  made=; [ -d /run/sshd ] || { mkdir -m 755 /run/sshd; made=1; }
  sshd -t || { [ ! "$made" ] || rmdir /run/sshd; exit 1; }
  [ ! "$made" ] || rmdir /run/sshd
fi
""",
    Area.RIGHTS: """! command -v visudo >/dev/null || visudo -cf /etc/sudoers ||
  { echo "sudo cannot read its rules any more" >&2; exit 1; }
""",
    Area.FIREWALL: """! systemctl -q is-enabled nftables.service 2>/dev/null ||
  nft -c -f /etc/nftables.conf
""",
}
_LIVE = {
    Area.LOGIN: """if [ -d /run/systemd/system ]; then
  for u in ssh sshd; do
    if systemctl -q is-active $u.socket; then
      # a socket is not opened anew while its service runs; sessions outlive both
      systemctl daemon-reload; systemctl stop $u.service; systemctl restart $u.socket; break
    elif systemctl -q is-active $u.service; then
      systemctl reset-failed $u.service  # its limit of starts counts several changes in a row
      systemctl restart $u.service; break
    fi
  done
elif [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; sleep 1
fi
""",
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

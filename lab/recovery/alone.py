"""A twin reaches nothing: seen from inside of it, before any data comes to it.

It tries what it must not reach (this machine, its gateway, the host that it stands for, the node),
by TCP, UDP and ping. Any answer counts, a refusal too: what was refused has arrived. This machine
listens meanwhile, so that one thing is there to be reached if anything can be.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import shlex
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from lab.clients.shell import Shell
from lab.errors import DriverError

_SSH = 22
_USUAL = (_SSH, 53, 80, 443)
_DEADLINE = 60.0
_CANNOT = 95

WAYS_OUT = """\
if command -v ip >/dev/null 2>&1; then
  ip route del default 2>/dev/null; ip -6 route flush default 2>/dev/null
fi
n=$(awk '$2 == "00000000" && $8 == "00000000"' /proc/net/route | wc -l)
[ "$n" = 0 ] || { echo "it still has a way out" >&2; exit 94; }
"""
"""Closes a guest from inside. By itself it proves nothing about what stands around the guest."""

_ONE_WAY_BACK = """\
back={runner}
if [ -n "$back" ] && command -v ip >/dev/null 2>&1; then
  via=$(ip route get "$back" 2>/dev/null |
    sed -n 's/.* via \\([^ ]*\\) dev \\([^ ]*\\).*/via \\1 dev \\2/p')
  [ -z "$via" ] || ip route replace "$back" $via
fi
"""

_TRY = r"""
export LC_ALL=C
command -v bash >/dev/null 2>&1 || { echo "bash is not there to try it with" >&2; exit 95; }
tcp() {
  said=$(timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1); status=$?
  case $status:$said in
    0:*|*refused*|*reset*) echo "tcp $1 $2" ;;
  esac
}
udp() { timeout 4 bash -c 'printf %s "$2" >"/dev/udp/$0/$1"' "$1" "$2" "$3" >/dev/null 2>&1; }
icmp() {
  command -v ping >/dev/null 2>&1 || return 0
  timeout 5 ping -n -c 1 -W 3 "$1" >/dev/null 2>&1 && echo "icmp $1"
}
gateways=$(ip route show default 2>/dev/null | sed -n 's/.* via \([^ ]*\).*/\1/p')
names=$(sed -n '/ 127\./d; s/^nameserver[ \t]*\([^ ]*\).*/\1/p' /etc/resolv.conf 2>/dev/null)
for address in $gateways $names; do
  for port in USUAL; do tcp "$address" "$port" & done
  icmp "$address" &
done
"""


@dataclass(frozen=True)
class Listening:
    """This machine, while it listens.

    ``heard`` is from where its ``token`` came by UDP, which only the twin knows; that it got
    through by TCP the twin sees itself.
    """

    address: str
    port: int
    token: str
    heard: set[str] = field(default_factory=set)

    def seen_at(self, address: str) -> Listening:
        """The same, at the address by which a twin knows this machine."""
        return replace(self, address=address)


def prove(shell: Shell, twin: str, listening: Listening, others: Iterable[tuple[str, int]]) -> int:
    """Return after how many tries nothing was reached.

    ``others`` are addresses and ports that it must not reach, besides what it knows itself.
    Raises DriverError with what it did reach, or where it could not be tried.
    """
    tries = [(listening.address, listening.port), (listening.address, _SSH)]
    tries += [one for one in others if one not in tries]
    script = _TRY.replace("USUAL", " ".join(map(str, _USUAL)))
    for address, port in tries:
        script += f"tcp {shlex.quote(address)} {port} &\n"
    for address in dict.fromkeys(address for address, _ in tries):
        script += f"icmp {shlex.quote(address)} &\n"
    script += f"udp {shlex.quote(listening.address)} {listening.port} {listening.token} &\nwait\n"
    doing = "see that the twin reaches nothing"
    reply = shell.run(script, doing=doing, deadline=_DEADLINE, check=False)
    if reply.status != 0:
        why = reply.lines[-1] if reply.lines else f"it ended with status {reply.status}"
        raise DriverError(f"Unable to see that the twin of {twin} reaches nothing: {why}.")
    reached = sorted({_told(line) for line in reply.text.splitlines() if line.strip()})
    reached += [] if not listening.heard or reached else ["this machine, by UDP"]
    if reached:
        raise DriverError(
            f"Unable to drill {twin}: its twin is not closed off. It reached {', '.join(reached)}.",
            hint="look at the firewall of the cluster: pve-firewall status; pve-firewall compile   "
            "(as root, on the node)",
        )
    return len(tries)


def cut(shell: Shell, runner: str = "") -> None:
    """Take its default route away, so that what tries to get out learns at once that it cannot.

    ``runner``: who it must go on to answer, where a gateway leads to him.
    """
    back = _ONE_WAY_BACK.replace("{runner}", shlex.quote(runner)) if runner else ""
    shell.run(back + WAYS_OUT, doing="cut the twin off")


@contextlib.contextmanager
def listening(address: str) -> Iterator[Listening]:
    """Listen at all addresses of this machine, by TCP and UDP on one port; ``address`` is one.

    At all: a twin may know this machine by another one, where something translates it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as held:
        tcp = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
        udp = held.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        try:
            tcp.bind(("", 0))
            port = int(tcp.getsockname()[1])
            udp.bind(("", port))
        except OSError as error:
            raise DriverError(
                f"Unable to listen here, to see that a twin does not reach it: {error.strerror}.",
                hint="the same command again",
            ) from error
        tcp.listen(8)
        told = Listening(address, port, secrets.token_hex(8))
        threads = [threading.Thread(target=work, args=(sock, told), daemon=True)
                   for work, sock in ((_accept, tcp), (_receive, udp))]  # fmt: skip
        for thread in threads:
            thread.start()
        try:
            yield told
        finally:
            for sock in (tcp, udp):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def way_to(address: str) -> str:
    """This machine's address towards another; ``""``: no way leads there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, _SSH))
        found: str = probe.getsockname()[0]
        return found
    return ""


def address_of(name: str) -> str:
    """What a twin must try for it: no name is known in there, and its loopback is its own."""
    with contextlib.suppress(OSError):
        found = str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
        return "" if ipaddress.ip_address(found.partition("%")[0]).is_loopback else found
    return ""


def _accept(sock: socket.socket, told: Listening) -> None:  # noqa: ARG001 (as the other)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = sock.accept()
            connection.close()


def _receive(sock: socket.socket, told: Listening) -> None:
    with contextlib.suppress(OSError):
        while True:
            said, peer = sock.recvfrom(1024)
            if said == told.token.encode():
                told.heard.add(str(peer[0]))
            elif not said:
                return


def _told(line: str) -> str:
    kind, address, *port = line.split()
    return f"{address} by ping" if kind == "icmp" else f"{address}:{port[0]}"


__all__ = ["WAYS_OUT", "Listening", "address_of", "cut", "listening", "prove", "way_to"]

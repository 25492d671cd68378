"""What a started machine does on the stand-in: a real SSH server at its own address.

It shows the host key that the machine's seed carries, lets in who holds the lab's key, under any
name, and runs what it is given in a shell of this machine, as root, with an /etc of its own. A
machine of ``private`` has that folder as its /srv; one that is ``cut_off`` has no network at all.
"""

import contextlib
import logging
import os
import socket
import subprocess
import threading

import paramiko

LOCAL = f"127.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}"
"""How addresses begin that no test of another process has at the same time: ``LOCAL.x.y``."""
_PORT = 22
_OWN = """
mount -t tmpfs own /mnt && mkdir /mnt/up /mnt/work || exit 90
mount -t overlay own -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc || exit 91
rm -rf /etc/ssh/ssh_host_* /etc/wireguard
cp "$1" /etc/ssh/ssh_host_ed25519_key
ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key >/etc/ssh/ssh_host_ed25519_key.pub
md5sum "$1" | cut -c1-32 >/etc/machine-id
[ -z "$3" ] || mount --bind "$3" /srv || exit 92
exec sh -c "$2"
"""
logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # who only looks at the banner hangs up


class Doors:
    """``open`` and ``close`` are a stand-in's ``on_start`` and ``on_stop``."""

    def __init__(self, state):
        """``state``: the lab's own, with its keys."""
        self.state = state
        self.addresses = {}
        self.refuse = False
        self.private = {}
        self.cut_off = lambda guest: False

    def keys_of(self, name):
        """Where the lab that made it keeps its keys, and what it calls it."""
        return self.state / "keys", name

    def open(self, guest, config, disks):
        """A guest of that name was started; one without an address here stays silent."""
        del config, disks
        address = self.addresses.get(guest.name)
        return None if address is None else _Listening(self, guest, address)

    def close(self, guest, listening):
        """It was stopped."""
        del guest
        if listening is not None:
            listening.close()


class _Listening:
    def __init__(self, doors, guest, address):
        keys, host = doors.keys_of(guest.name)
        self.key = keys / "hosts" / host / "ssh_host_ed25519_key"
        self.allowed = keys / "lab.pub"
        self.doors, self.guest = doors, guest
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, _PORT))
        self.socket.listen(16)
        self.open = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for transport in list(self.open):
            transport.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection):
        transport = paramiko.Transport(connection)
        self.open.add(transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.add_server_key(paramiko.Ed25519Key(filename=str(self.key)))
            transport.start_server(server=_Door(self))
            held = []  # a channel that nobody holds is closed
            while transport.is_active():
                held.append(transport.accept(1))


class _Door(paramiko.ServerInterface):
    def __init__(self, listening):
        self.allowed = listening.allowed.read_text().split()[1]
        self.doors, self.key, self.guest = listening.doors, listening.key, listening.guest

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        good = key.get_base64() == self.allowed and not self.doors.refuse
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel, command):
        """A shell whose /etc is its own: what is written there ends with it."""
        doors, guest = self.doors, self.guest
        net = ["--net"] if doors.cut_off(guest) else []
        srv = str(doors.private.get(guest.name, ""))
        argv = ["unshare", "--mount", *net, "sh", "-c", _OWN, "sh", self.key, command, srv]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", bufsize=0
        ) as process:
            threads = [
                threading.Thread(target=_copy, args=(process.stdout, channel.sendall)),
                threading.Thread(target=_copy, args=(process.stderr, channel.sendall_stderr)),
            ]
            feeding = threading.Thread(target=_feed, args=(channel, process.stdin), daemon=True)
            for thread in (*threads, feeding):
                thread.start()
            for thread in threads:
                thread.join()
            with contextlib.suppress(OSError, EOFError):
                channel.send_exit_status(process.wait())
            with contextlib.suppress(OSError, EOFError):
                channel.close()
            feeding.join()


def _copy(pipe, send):
    with contextlib.suppress(OSError):
        while piece := pipe.read(65536):
            send(piece)


def _feed(channel, pipe):
    with contextlib.suppress(OSError):
        while piece := channel.recv(65536):
            pipe.write(piece)
    with contextlib.suppress(OSError):
        pipe.close()

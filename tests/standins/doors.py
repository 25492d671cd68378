"""What a started machine does on the stand-in: a real SSH server at its own address.

It shows the host key that the machine's seed carries, lets in who holds the lab's key, under any
name, and ends every command well. No shell is behind it.
"""

import contextlib
import logging
import socket
import threading

import paramiko

_PORT = 22
logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # who only looks at the banner hangs up


class Doors:
    """``open`` and ``close`` are a stand-in's ``on_start`` and ``on_stop``."""

    def __init__(self, state):
        """``state``: the lab's own, with its keys."""
        self.state = state
        self.addresses = {}
        self.refuse = False

    def open(self, guest, config, disks):
        """A guest of that name was started; one without an address here stays silent."""
        del config, disks
        address = self.addresses.get(guest.name)
        return None if address is None else _Listening(self, guest.name, address)

    def close(self, guest, listening):
        """It was stopped."""
        del guest
        if listening is not None:
            listening.close()


class _Listening:
    def __init__(self, doors, name, address):
        self.key = doors.state / "keys/hosts" / name / "ssh_host_ed25519_key"
        self.allowed = doors.state / "keys/lab.pub"
        self.doors = doors
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
            transport.start_server(server=_Door(self.allowed.read_text().split()[1], self.doors))
            while transport.is_active() and transport.accept(1) is not None:
                pass


class _Door(paramiko.ServerInterface):
    def __init__(self, allowed, doors):
        self.allowed = allowed
        self.doors = doors

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        good = key.get_base64() == self.allowed and not self.doors.refuse
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        def end():
            channel.send_exit_status(0)
            channel.close()

        threading.Timer(0.05, end).start()
        return True

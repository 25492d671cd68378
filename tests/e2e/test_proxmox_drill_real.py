"""A drill with a real guest: its twin boots under QEMU, behind what the stand-in's rules say.

QEMU's network leads nowhere exactly where the rules let nothing out, and a login is passed on to it
exactly where they let it in.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab.clients import restic
from tests.e2e.test_proxmox import Cluster
from tests.e2e.test_proxmox_drill import Drilled, Guests, switch
from tests.peers import needs_tofu
from tests.standins.proxmox import ProxmoxStandIn

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.long]
RUNNER, GATEWAY = "203.0.113.78", "198.18.78.1"  # beyond the gateway: reached where a way leads out
HOST, TWIN = "198.18.78.11", "198.18.78.12"
IP, NOWHERE, AROUND = ("ip", "address"), ("ip", "route"), ("blackhole", "198.18.78.0/24")
CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"


class Machines(Guests):
    """The host is an SSH server as elsewhere; its twin is a machine that boots."""

    def __init__(self, base):
        super().__init__(base)
        self.walls, self.obeyed, self.booted = None, True, []

    def open(self, guest, config, disks):
        if guest.name != "drill-nas1":
            return super().open(guest, config, disks)
        closed = self.obeyed and not self.walls.lets_out(guest, "192.0.2.1", 443)
        self.booted.append(closed)
        return Machine(self, guest, config, disks, closed=closed)


class Machine:
    """One QEMU, and who passes logins on to it while the rules let them in."""

    def __init__(self, machines, guest, config, disks, *, closed):
        self.machines, self.guest = machines, guest
        folder = machines.base / f"vm{len(machines.booted)}"
        folder.mkdir()
        shutil.copyfile(VARS, folder / "vars.fd")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        mac = config["net0"].split(",")[0].partition("=")[2]
        net = f"user,id=n,net=198.18.78.0/24,host={GATEWAY},dns=198.18.78.3,ipv6=off"
        net += f",dhcpstart={TWIN}"  # this template asks for an address, whatever it is told
        net += f",hostfwd=tcp:127.0.0.1:{self.port}-{TWIN}:22" + (",restrict=on" if closed else "")
        pflash = "if=pflash,format=raw,unit={},file={}"
        argv = [
            *("qemu-system-x86_64", "-display", "none", "-nodefaults", "-machine", "q35"),
            *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-drive", pflash.format(0, CODE) + ",readonly=on"),
            *("-drive", pflash.format(1, folder / "vars.fd")),
            *("-netdev", net, "-device", f"virtio-net-pci,netdev=n,mac={mac},romfile="),
            *("-device", "virtio-scsi-pci", "-device", "virtio-rng-pci"),
            *("-serial", f"file:{folder / 'serial.log'}"),
        ]
        for slot, file in disks.items():
            if slot.startswith("ide"):
                argv += ["-drive", f"if=none,id={slot},media=cdrom,file={file},format=raw"]
                argv += ["-device", f"scsi-cd,drive={slot}"]
            elif slot.startswith(("scsi", "virtio")):
                fmt = "qcow2" if str(file).endswith("qcow2") else "raw"
                argv += ["-drive", f"if=none,id={slot},file={file},format={fmt}"]
                argv += ["-device", f"scsi-hd,drive={slot},bootindex={int(slot[-1]) + 1}"]
        with (folder / "stderr").open("w") as said:
            self.process = subprocess.Popen(argv, stderr=said)
        subprocess.run([*IP, "replace", f"{TWIN}/32", "dev", "lo"], check=True)
        self.socket = socket.create_server((TWIN, 22))
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        subprocess.run([*IP, "del", f"{TWIN}/32", "dev", "lo"], check=False)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                if not self.machines.walls.lets_in(self.guest, RUNNER, 22):
                    connection.close()
                    continue
                threading.Thread(
                    target=_join, args=(connection, ("127.0.0.1", self.port)), daemon=True
                ).start()


def _join(connection, where):
    with connection, contextlib.suppress(OSError), socket.create_connection(where) as inside:
        back = threading.Thread(target=_pass_on, args=(inside, connection), daemon=True)
        back.start()
        _pass_on(connection, inside)
        back.join()


def _pass_on(one, other):
    with contextlib.suppress(OSError):
        while piece := one.recv(65536):
            other.sendall(piece)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


class RealLab(Drilled):
    drills = f"drills: {{addresses: {TWIN}-{TWIN}, runner: {RUNNER}}}, boot_deadline: 12m"
    host = f"{HOST}/24"
    network = f"  network: {{gateway: {GATEWAY}}}\n"

    def lab(self, *words, ok=(0,), stdin=""):
        return super().lab(*words, ok=ok, stdin=stdin)


@pytest.fixture
def nas(tmp_path, template):
    needs_tofu()
    if os.geteuid() != 0 or not Path(CODE).exists():
        pytest.skip("addresses of its own need root, and a machine its firmware (ovmf)")
    if (restic.version() or (0,)) < restic.OLDEST:
        pytest.skip("needs restic 0.17 or newer: sudo tools/install-restic")
    subprocess.run([*NOWHERE, "replace", *AROUND], check=True)  # whatever answers out there
    for address in (RUNNER, HOST):
        subprocess.run([*IP, "replace", f"{address}/32", "dev", "lo"], check=True)
    machines = Machines(tmp_path)
    machines.addresses["nas1"] = HOST
    digest = subprocess.run(
        ["sha256sum", template], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    try:
        with (
            ProxmoxStandIn(real_disks=True, on_start=machines.open, on_stop=machines.close) as pve,
            Cluster(pve.url, pve.token, pve.fingerprint) as cluster,
        ):
            machines.walls = pve.world.firewalls
            machines.cut_off = lambda guest: False
            switch(pve, on=True)
            base = f"{{url: {template}, checksum: 'sha256:{digest}'}}"
            yield RealLab(tmp_path, cluster, pve, machines, base)
    finally:
        machines.remove()
        subprocess.run([*NOWHERE, "del", *AROUND], check=False)
        for address in (RUNNER, HOST):
            subprocess.run([*IP, "del", f"{address}/32", "dev", "lo"], check=False)


def test_a_real_twin_reaches_nothing_and_proves_its_host(nas):
    before = nas.real()
    proof = nas.drill()
    sys.stderr.write(f"{proof['steps']}\n")  # with -s: how long each took
    assert (proof["proved"], proof["sandbox"]) == (True, "proxmox")
    assert nas.guests.booted == [True], "it was closed off when it first started"
    assert [r["compared"] for r in proof["restored"]] == ["every file, also after all was healthy"]
    assert nas.twins() == []
    assert nas.real() == before


def test_a_real_twin_whose_rules_nobody_keeps_to_is_caught(nas):
    nas.guests.obeyed = False
    proof = nas.drill(ok=(1,))
    assert nas.guests.booted == [False]
    assert "its twin is not closed off. It reached" in proof["failure"]
    assert f"{RUNNER}:" in proof["failure"], "this machine, which listened"
    assert proof["restored"] == []
    assert nas.twins() == []

"""A real machine in QEMU from a disk and a CD, as a node of Proxmox VE would start it."""

import socket
import subprocess
import threading
import time
from pathlib import Path

from lab.clients import iso
from layers.l2_instantiate.drivers.qemu.firmware import find_firmware
from layers.l2_instantiate.firstboot import FirstBoot


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Box:
    """Runs from the moment it is made; its disk is scsi0 and its CD ide2."""

    def __init__(self, folder: Path, disk: Path, cd: Path, *, port=None, then=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.console = folder / f"console-{time.monotonic_ns()}.log"
        firmware = find_firmware(None, "box")
        settings = folder / "vars.fd"
        settings.write_bytes(Path(firmware.blank_vars).read_bytes())
        forward = f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22"
        card = ["-netdev", forward, "-device", "virtio-net-pci,netdev=n"] if port else []
        drive = "if=none,id=scsi0,discard=unmap,detect-zeroes=unmap,cache=unsafe,format=qcow2"
        self.process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi"),
                *("-cpu", "max", "-smp", "2", "-m", "1024", "-display", "none", "-nodefaults"),
                *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={firmware.code}"),
                *("-drive", f"if=pflash,format=raw,unit=1,file={settings}"),
                *("-device", "virtio-scsi-pci", "-drive", f"{drive},file={disk}"),
                *("-device", "scsi-hd,drive=scsi0,bootindex=1"),
                *("-drive", f"if=none,id=ide2,media=cdrom,readonly=on,format=raw,file={cd}"),
                *("-device", "ide-cd,drive=ide2", "-vga", "std"),
                *("-serial", f"file:{self.console}", "-nic", "none", *card),
            ],
        )
        if then is not None:
            threading.Thread(target=self._watch, args=(then,), daemon=True).start()

    def _watch(self, then):
        self.process.wait()
        then()

    def await_end(self, seconds):
        """Until it is off by itself."""
        self.process.wait(timeout=seconds)

    def kill(self):
        """As pulling the plug."""
        self.process.kill()
        self.process.wait()

    def said(self):
        """What it wrote to its console."""
        return self.console.read_text(errors="replace")


class Person:
    """Who logs in to a machine that is told to be ``name``, without any code of ours."""

    def __init__(self, folder: Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.name = folder, free_port(), name
        for kind in ("login", "host"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / kind]
            subprocess.run(words, check=True)
        self.host_key = (folder / "host.pub").read_text().strip()
        first = FirstBoot(name, "ops", ((folder / "login.pub").read_text().strip(),), self.host_key)
        files = {
            "user-data": first.user_data((folder / "host").read_text()),
            "meta-data": first.meta_data(name),
        }
        self.cd = folder / "seed.iso"
        self.cd.write_bytes(iso.written(files, doing="test"))
        (folder / "known").write_text(f"it {self.host_key}\n")

    def run(self, command, *, check=True):
        words = ["ssh", "-F", "none", "-i", self.folder / "login", "-p", str(self.port)]
        words += ["-o", f"UserKnownHostsFile={self.folder / 'known'}", "-o", "HostKeyAlias=it"]
        words += ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        words += ["-o", "ConnectTimeout=10", "ops@127.0.0.1", "sudo sh -s"]
        done = subprocess.run(
            words, input=command, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else None

    def await_login(self, seconds=360):
        ends = time.monotonic() + seconds
        while self.run("true", check=False) is None:
            assert time.monotonic() < ends, "nobody can log in"
            time.sleep(2)


__all__ = ["Box", "Person", "free_port"]

"""The QEMU command line of a machine: pure."""

from __future__ import annotations

from dataclasses import dataclass

from layers.l2_instantiate.drivers.qemu.folder import Folder, Record
from layers.l2_instantiate.ports import LOOPBACK, Forward, parse_forward

PROGRAM = "qemu-system-x86_64"
NETWORK = "net0"
_MIB = 1024**2
# thread=multi: one host thread a virtual processor; without it a second one gains nothing.
_ACCELERATORS = {"kvm": ("kvm", "host"), "tcg": ("tcg,thread=multi", "max")}


@dataclass(frozen=True, slots=True)
class Firmware:
    """The UEFI code of this machine, and the blank settings that go with it."""

    code: str
    blank_vars: str


def arguments(folder: Folder, record: Record, accelerator: str, firmware: Firmware) -> list[str]:
    """What to run. It detaches by itself and outlives this process."""
    accel, cpu = _ACCELERATORS[accelerator]
    settings = record.settings
    return [
        *(PROGRAM, "-name", record.host, "-uuid", record.uuid),
        *("-no-user-config", "-nodefaults", "-display", "none", "-vga", "none"),
        *("-machine", "q35", "-accel", accel, "-cpu", cpu),
        *("-smp", str(settings.cpu), "-m", f"{settings.memory // _MIB}M"),
        *_flash(0, firmware.code, readonly=True),
        *_flash(1, str(folder.firmware_vars), readonly=False),
        *_disk("root", str(folder.root), "qcow2,discard=unmap,detect-zeroes=unmap", ",bootindex=0"),
        *_disk("seed", str(folder.seed), "raw,readonly=on"),
        *(
            word
            for name in settings.disks
            for word in _disk(name, str(folder.disk(name)), "qcow2,discard=unmap")
        ),
        *_network(record),
        *("-device", "virtio-rng-pci"),
        *("-serial", f"file:{folder.serial}"),
        *("-qmp", f"unix:{_escaped(str(folder.socket))},server=on,wait=off"),
        *("-pidfile", str(folder.pidfile), "-daemonize"),
    ]


def rule(forward: Forward) -> str:
    """How QEMU's monitor and its command line write a forward."""
    return f"{forward.protocol}:{forward.bind}:{forward.host}-:{forward.guest}"


def ssh_forward(port: int) -> Forward:
    """The forward that the lab itself comes in by."""
    return Forward("tcp", LOOPBACK, port, 22)


def _network(record: Record) -> tuple[str, ...]:
    forwards = (ssh_forward(record.port), *map(parse_forward, record.settings.ports))
    rules = ",".join(f"hostfwd={rule(f)}" for f in forwards)
    # Restricted, a guest reaches neither this machine nor anything beyond; forwards still lead in.
    alone = ",restrict=on" if record.settings.isolated else ""
    # The host's own for life: a guest must not meet a new network card after a rebuild.
    mac = "52:54:00:" + ":".join(record.uuid.replace("-", "")[i : i + 2] for i in (0, 2, 4))
    return (
        *("-netdev", f"user,id={NETWORK}{alone},{rules}"),
        *("-device", f"virtio-net-pci,netdev={NETWORK},mac={mac},romfile="),
    )


def _flash(unit: int, path: str, *, readonly: bool) -> tuple[str, str]:
    mode = ",readonly=on" if readonly else ""
    return "-drive", f"if=pflash,format=raw,unit={unit}{mode},file={_escaped(path)}"


def _disk(name: str, path: str, options: str, more: str = "") -> tuple[str, ...]:
    # The serial is how the guest names it: /dev/disk/by-id/virtio-<name>.
    return (
        *("-drive", f"if=none,id={name},file={_escaped(path)},format={options}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}{more}"),
    )


def _escaped(path: str) -> str:
    """A comma ends a value on QEMU's command line unless it is doubled."""
    return path.replace(",", ",,")

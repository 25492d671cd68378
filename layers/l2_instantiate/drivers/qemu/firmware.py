"""The UEFI firmware that this machine has installed."""

from __future__ import annotations

from pathlib import Path

from lab.errors import DriverError
from layers.l2_instantiate.drivers.qemu.command import Firmware

# Code and blank settings, as Debian and Ubuntu, Fedora, Arch, and QEMU's own build lay them out.
_USUAL = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
)


def find_firmware(declared: str | None, host: str) -> Firmware:
    """The provider's choice, else the first of the usual places. Raises DriverError."""
    if declared is not None:
        code = Path(declared)
        name = code.name.replace("CODE", "VARS").replace("code", "vars")
        places = [(declared, str(code.with_name(name)))] if name != code.name else []
    else:
        places = list(_USUAL)
    for code_file, vars_file in places:
        if Path(code_file).is_file() and Path(vars_file).is_file():
            return Firmware(code_file, vars_file)
    if declared is not None:
        raise DriverError(
            f"Unable to start {host}: {declared} and the VARS file beside it are not both there.",
            hint="name an OVMF_CODE file at firmware of the provider, or leave firmware out",
        )
    raise DriverError(
        f"Unable to start {host}: no UEFI firmware is installed.", hint="apt install ovmf"
    )

"""Whether KVM runs guests: run three tiny guests and see. A program of its own, no QEMU.

A /dev/kvm that opens, and a virtual machine that can be made, prove nothing: there are machines
(nested, paravirtual) where every kernel dies at its first ``cmpxchg16b`` or ``shlx``, because
ring-0 code is emulated there and the emulator does not know them. So each is executed here, in
64-bit mode, before a ``hlt``. Prints one line: ``usable``, or what went wrong. About 0.1 s.

Constants: linux/kvm.h and Documentation/virt/kvm/api.rst of Linux 6.1 (x86-64).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import struct
import sys

_CREATE_VM, _CREATE_VCPU, _RUN = 0xAE01, 0xAE41, 0xAE80
_GET_API_VERSION, _GET_VCPU_MMAP_SIZE = 0xAE00, 0xAE04
_SET_USER_MEMORY_REGION, _SET_TSS_ADDR = 0x4020AE46, 0xAE47
_GET_SREGS, _SET_SREGS, _SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
_GET_SUPPORTED_CPUID, _SET_CPUID2 = 0xC008AE05, 0x4008AE90
_EXIT_HLT = 5
_EXITS = {8: "shutdown", 9: "entry failed", 17: "internal error"}
_API = 12
_SECONDS = 5
_MEMORY = 1 << 16
_CODE, _OPERAND = 0x8000, 0x9000

PROGRAMS = {
    "hlt": b"\xf4",
    "cmpxchg16b": b"\xf0\x48\x0f\xc7\x0f\xf4",  # lock cmpxchg16b [rdi]; hlt
    "shlx": b"\xc4\xe2\xf1\xf7\xc2\xf4",  # shlx rax, rdx, rcx; hlt
}


def main() -> None:
    """Print the verdict; the alarm ends a guest that never stops."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_SECONDS)
    try:
        print(_verdict())  # noqa: T201 (a program of its own: this line is its result)
    except OSError as error:
        print(f"{error.strerror} while starting a guest")  # noqa: T201


def _too_long(number: int, frame: object) -> None:
    del number, frame
    os.write(1, b"a guest of three instructions did not end in time\n")
    os._exit(0)


def _verdict() -> str:
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    if fcntl.ioctl(kvm, _GET_API_VERSION, 0) != _API:
        return "its interface is not the one that QEMU uses"
    features = _cpuid(kvm)
    for name, program in PROGRAMS.items():
        if name == "shlx" and not _has_bmi2(features):
            continue  # guests are not told of it either
        reason = _run(kvm, program, features)
        if reason != _EXIT_HLT:
            return f"{name} ends in {_EXITS.get(reason, f'exit {reason}')}"
    return "usable"


def _cpuid(kvm: int) -> bytes:
    """What guests may be told of the processor: ``struct kvm_cpuid2``."""
    room = 256
    table = bytearray(struct.pack("II", room, 0) + bytes(40 * room))
    fcntl.ioctl(kvm, _GET_SUPPORTED_CPUID, table)
    return bytes(table)


def _has_bmi2(table: bytes) -> bool:
    count = struct.unpack_from("I", table)[0]
    for entry in range(count):
        function, index, _, _, ebx = struct.unpack_from("5I", table, 8 + 40 * entry)
        if (function, index) == (7, 0):
            return bool(ebx & 1 << 8)
    return False


def _run(kvm: int, program: bytes, features: bytes) -> int:
    """The exit reason of ``program`` in a machine of its own."""
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    fcntl.ioctl(machine, _SET_TSS_ADDR, 0x7FFBD000)
    memory = mmap.mmap(-1, _MEMORY)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, struct.pack("IIQQQ", 0, 0, 0, _MEMORY, address))
    # Page tables at 0x1000: the first GiB as one page of the guest's own addresses, by 2 MiB.
    struct.pack_into("Q", memory, 0x1000, 0x2003)
    struct.pack_into("Q", memory, 0x2000, 0x3003)
    struct.pack_into("Q", memory, 0x3000, 0x83)
    memory[_CODE : _CODE + len(program)] = program
    processor = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    fcntl.ioctl(processor, _SET_CPUID2, bytearray(features))
    shared = mmap.mmap(processor, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
    _enter_long_mode(processor)
    # rax rbx rcx rdx rsi rdi rsp rbp r8-r15 rip rflags
    registers = [0, 0, 1, 0, 0, _OPERAND, _OPERAND, 0, *[0] * 8, _CODE, 2]
    fcntl.ioctl(processor, _SET_REGS, struct.pack("18Q", *registers))
    fcntl.ioctl(processor, _RUN, 0)
    reason: int = struct.unpack_from("I", shared, 8)[0]
    return reason


def _enter_long_mode(processor: int) -> None:
    """Set the special registers: flat 64-bit segments, paging on."""
    sregs = bytearray(0x138)
    fcntl.ioctl(processor, _GET_SREGS, sregs)
    # base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding
    code = struct.pack("QIH10B", 0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    flat = struct.pack("QIH10B", 0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)
    sregs[0:24] = code
    for segment in range(1, 6):
        sregs[24 * segment : 24 * segment + 24] = flat
    # After 8 segments and 2 descriptor tables: cr0 cr2 cr3 cr4 cr8 efer
    struct.pack_into("6Q", sregs, 224, 0x80000033, 0, 0x1000, 0x620, 0, 0x500)
    fcntl.ioctl(processor, _SET_SREGS, sregs)


if __name__ == "__main__":
    main()
    sys.exit(0)

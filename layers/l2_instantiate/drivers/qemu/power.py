"""Start a machine and see it come up; stop it in order."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from lab.clients.process import run
from lab.errors import DeadlineExceeded, DriverError, TransportError
from lab.faults import point
from lab.layer import Report, Target, Workspace
from layers.l2_instantiate import keys, login, network
from layers.l2_instantiate.drivers.qemu import images, process
from layers.l2_instantiate.drivers.qemu.command import arguments, ssh_forward
from layers.l2_instantiate.drivers.qemu.console import Console, last_lines
from layers.l2_instantiate.drivers.qemu.firmware import find_firmware
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record
from layers.l2_instantiate.drivers.qemu.process import Process
from layers.l2_instantiate.drivers.qemu.seed import write_seed
from layers.l2_instantiate.home import private_folder
from layers.l2_instantiate.machines import ROOT
from layers.l2_instantiate.ports import parse_forward
from layers.l2_instantiate.spec import Inputs, Spec
from layers.l2_instantiate.wanted import accelerator as chosen

_TICK = 0.3
_PRESS_AGAIN = 15.0
_AT_ONCE = 2  # without KVM two boots take 2 cores; four at once take longer than two after two


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a step is given."""

    boot: float = 480.0
    boot_kvm: float = 120.0
    stop: float = 60.0
    quit: float = 5.0


class BootTurns:
    """Lets a few machines boot at a time; one for each run."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    @contextlib.contextmanager
    def turn(self, report: Report) -> Iterator[None]:
        """Wait for a turn and hold it. Raises Interrupted."""
        while not self._turns.acquire(timeout=_TICK):
            report("waiting for its turn to boot")
            self._workspace.check()
        try:
            yield
        finally:
            self._turns.release()


class _Boot(Enum):
    UP = auto()
    PANICKED = auto()
    STUCK = auto()  # the accelerator cannot run this guest's code


class Power:
    """The power switch of one machine."""

    def __init__(self, target: Target[Spec, Inputs], folder: Folder, patience: Patience) -> None:
        self._target = target
        self._folder = folder
        self._patience = patience
        self._workspace = folder.workspace
        self._host = folder.host

    def start(self) -> None:
        """Start it and return once a login works. One that runs already is only waited for."""
        turns = self._workspace.resource(BootTurns)
        with turns.turn(self._target.report):
            if process.find(self._folder, self._folder.require()) is None:
                self._boot()
            else:
                self.await_up()

    def await_up(self) -> None:
        """Return once a login to a running machine works; a boot that fails is tried again."""
        found = process.find(self._folder, self._folder.require())
        if found is None or self._await(found) is not _Boot.UP:
            self._end(found)
            self._boot()
        self._answered()

    def restart(self) -> None:
        """Stop it in order and start it with what its record says now."""
        self.stop()
        self.start()

    def resume(self) -> None:
        """Let a machine that QEMU holds still go on; where that fails, start it anew."""
        found = process.find(self._folder, self._folder.require())
        if found is not None and process.status(found, self._host) != "running":
            with contextlib.suppress(DriverError), found.monitor(self._host) as monitor:
                monitor.execute("cont")
            if process.status(found, self._host) != "running":
                self._target.report("it does not go on: starting it anew")
                self._end(found)
        self.start()

    def stop(self, *, at_once: bool = False) -> bool:
        """End it: the guest is asked first and given its time, unless there is nothing to save.

        Whether the guest shut down by itself.
        """
        record = self._folder.read()
        found = process.find(self._folder, record) if record else None
        if found is None or record is None:
            return False
        if record.answered and not at_once:
            self._shut_down(found)
        in_order = not found.is_alive()
        self._end(found)
        return in_order

    def _boot(self) -> None:
        """Start QEMU; once more after a panic, and without KVM where KVM cannot run the guest."""
        wanted = self._target.spec.accelerator
        accelerator: str = chosen(self._target)
        retried = False
        while True:
            came = self._start_qemu(accelerator)
            if came is _Boot.UP:
                break
            if came is _Boot.STUCK and accelerator == "kvm" and wanted == "auto":
                self._target.report("KVM cannot run this guest: using software emulation")
                accelerator = "tcg"
                continue
            if came is _Boot.STUCK and accelerator == "kvm":
                raise DriverError(
                    f"Unable to start {self._host}: KVM cannot run its code on this machine.",
                    hint="accelerator: auto at the provider in lab.yaml, then the same again",
                )
            if came is _Boot.STUCK or retried:
                raise self._failed("its processor stopped" if came is _Boot.STUCK else "it panics")
            self._target.report("the guest's kernel panicked: booting once more")
            retried = True
        self._answered()

    def _start_qemu(self, accelerator: str) -> _Boot:
        record = self._prepare()
        firmware = find_firmware(record.settings.firmware, self._host)
        if not self._folder.firmware_vars.exists():
            new = self._folder.firmware_vars.with_name(".firmware-vars.new")
            shutil.copyfile(firmware.blank_vars, new)
            new.replace(self._folder.firmware_vars)
        self._target.report("starting QEMU")
        point("l2.start.prepared")
        argv = arguments(self._folder, record, accelerator, firmware)
        run(argv, doing=f"start {self._host}", deadline=60, hint="lab doctor")
        point("l2.start.started")
        found = process.find(self._folder, record)
        if found is None:
            raise self._failed("QEMU ended at once")
        came = self._await(found)
        if came is not _Boot.UP:
            self._end(found)
        return came

    def _prepare(self) -> Record:
        """All that QEMU needs to find, and the record of what this start is."""
        folder, record = self._folder, self._folder.require()
        for forward in map(parse_forward, record.settings.ports):
            if not network.is_free(forward):
                raise network.taken(forward, self._host)
        port = record.port
        if not port or not network.is_free(ssh_forward(port)):
            port = network.pick_port()
        root = images.read_header(folder.root)
        if root is None:
            raise DriverError(
                f"Unable to start {self._host}: {folder.disk(ROOT)} is not a disk.",
                hint=f"lab plan host={self._host}",
            )
        started = record.model_copy(
            update={
                "port": port,
                "answered": False,
                "root_at_boot": root.size,
                "user": record.settings.user,
                "authorized_keys": record.settings.authorized_keys,
                "host_key": keys.make_host_key(folder),
                "identity": keys.make_login_key(folder),
            }
        )
        folder.write(started)
        write_seed(folder, started)
        private_folder(folder.socket.parent)
        folder.socket.unlink(missing_ok=True)
        if folder.serial.exists():
            folder.serial.replace(folder.serial.with_suffix(".log.1"))
        return started

    def _await(self, found: Process) -> _Boot:
        kvm = found.accelerator == "kvm"
        usual = self._patience.boot_kvm if kvm else self._patience.boot
        limit = self._target.spec.boot_deadline or usual
        began, record = time.monotonic(), self._folder.require()
        console, why = Console(self._folder.serial), ""
        while True:
            self._workspace.check()
            if not found.is_alive():
                raise self._failed("QEMU ended while the guest booted")
            # A KVM that cannot run a guest's code leaves QEMU alive and standing still.
            if process.status(found, self._host) == "internal-error":
                return _Boot.STUCK
            console.look()
            if console.panicked:
                return _Boot.PANICKED
            if network.speaks_ssh(record.port):
                self._target.report("logging in")
                why = login.refusal(self._folder, record.door)
                if not why:
                    return _Boot.UP
            if time.monotonic() - began > limit:
                raise self._never_answered(limit, why)
            self._target.report(f"booting: {console.line[:60]}".rstrip(": "))
            self._workspace.cancelled.wait(_TICK)

    def _answered(self) -> None:
        self._folder.write(self._folder.require().model_copy(update={"answered": True}))

    def _shut_down(self, found: Process) -> None:
        """Press the power button, more than once: a guest that still boots misses the first."""
        began, pressed = time.monotonic(), -_PRESS_AGAIN
        while found.is_alive() and (gone := time.monotonic() - began) < self._patience.stop:
            self._workspace.check()
            if gone - pressed >= _PRESS_AGAIN:
                pressed = gone
                try:
                    with found.monitor(self._host) as monitor:
                        monitor.tell("system_powerdown")
                except TransportError:
                    return
            self._target.report(f"shutting down ({gone:.0f} s)")
            self._workspace.cancelled.wait(_TICK / 3)

    def _end(self, found: Process | None) -> None:
        """QEMU itself ends: asked, then told, then made."""
        if found is None:
            return
        if found.is_alive():
            with contextlib.suppress(TransportError), found.monitor(self._host, 2.0) as monitor:
                monitor.tell("quit")
        for sign in (None, signal.SIGTERM, signal.SIGKILL):
            if sign is not None and found.is_alive():
                found.kill(sign)
            ends = time.monotonic() + self._patience.quit
            while found.is_alive() and time.monotonic() < ends:
                time.sleep(_TICK / 10)
        if found.is_alive():
            raise DriverError(
                f"Unable to stop {self._host}: its QEMU (pid {found.pid}) does not end.",
                hint=f"kill -9 {found.pid}",
            )
        found.socket.unlink(missing_ok=True)
        self._folder.pidfile.unlink(missing_ok=True)

    def _failed(self, why: str) -> DriverError:
        return DriverError(
            f"Unable to start {self._host}: {why}.",
            hint=f"read {self._folder.serial}, then: lab converge host={self._host}",
            lines=last_lines(self._folder.serial),
        )

    def _never_answered(self, limit: float, why: str) -> DeadlineExceeded:
        cause = f"its SSH answers, but: {why.rstrip('.')}" if why else "its SSH is silent"
        return DeadlineExceeded(
            f"Unable to log in to {self._host}: after {limit:.0f} s it runs, and {cause}.",
            hint=f"read {self._folder.serial}, then: lab converge host={self._host} waits again",
            lines=last_lines(self._folder.serial),
        )

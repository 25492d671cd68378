"""A program: runs one playbook through ansible-runner. Started by the driver, for one host.

It reads a job as JSON from its standard input, and writes events as lines of JSON to its standard
error, the last one being ``{"event": "over", "status": …, "output": […]}``. Nothing of what Ansible
says is ever written to a file: results come through a named pipe, secrets go through another one.
The files of ansible-runner (settings, the command line) stand in the job's folder, and hold none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

from lab.clients.child import die_with_parent

_GRACE = 4.0  # seconds; the driver's own patience is 5
_TICK = 0.1
_KEPT = 60


class Run:
    """One run of Ansible, and how it is stopped."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._folder = Path(job["folder"])
        self._stopped_at: float | None = None
        self._process = 0
        self._output: deque[str] = deque(maxlen=_KEPT)
        self._over = threading.Event()

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a signal handler)
        """Ask Ansible to end; it ends its own workers then."""
        self._stopped_at = self._stopped_at or time.monotonic()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGINT)

    def _overdue(self) -> bool:
        """Whether ansible-runner shall kill it: it was asked, and did not end."""
        return self._stopped_at is not None and time.monotonic() > self._stopped_at + _GRACE

    def go(self) -> None:
        """Run it to its end."""
        import ansible_runner  # noqa: PLC0415 (the one place)

        events, secrets = self._folder / "events", self._folder / "secrets"
        os.mkfifo(events, 0o600)
        os.mkfifo(secrets, 0o600)
        reading = os.open(events, os.O_RDWR | os.O_NONBLOCK)  # also for writing: it never ends
        reader = threading.Thread(target=self._pass_on, args=(reading,))
        reader.start()
        threading.Thread(target=self._feed, args=(secrets,), daemon=True).start()
        private = self._folder / "runner"
        (private / "env").mkdir(parents=True, mode=0o700)
        settings = {"suppress_output_file": True, "pexpect_timeout": _TICK}
        (private / "env/settings").write_text(json.dumps(settings))
        try:
            runner = ansible_runner.run(
                private_data_dir=str(private),
                project_dir=self._job["project"],
                playbook=self._job["playbook"],
                inventory=self._job["inventory"],
                cmdline=self._job["arguments"],
                envvars={**self._job["environment"], "STRATA_EVENTS": str(events)},
                event_handler=self._keep_output,
                cancel_callback=self._overdue,
                quiet=True,
                omit_event_data=True,
                suppress_env_files=True,
                fact_cache_type="memory",
            )
        finally:
            self._over.set()
            reader.join()
            self._close_connections()
        _tell({"event": "over", "status": runner.status, "output": list(self._output)})

    def _keep_output(self, event: dict[str, Any]) -> bool:
        self._output += (event.get("stdout") or "").splitlines()
        return False  # it is not written to a file

    def _pass_on(self, reading: int) -> None:
        """Events from Ansible to our standard error; what is left when it is over, too."""
        rest = b""
        while True:
            over = self._over.is_set()
            try:
                rest += os.read(reading, 65536)
            except BlockingIOError:
                if over:
                    return
                time.sleep(_TICK / 4)
                continue
            *lines, rest = rest.split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["event"] == "start":
                    self._process = event["pid"]
                    if self._stopped_at is not None:
                        self.stop(0, None)
                _tell(event)

    def _feed(self, pipe: Path) -> None:
        """Hand the secrets over once, to whoever opens the pipe."""
        while not self._over.is_set():
            try:
                writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads yet
                    return
                time.sleep(_TICK / 4)
                continue
            os.set_blocking(writing, True)
            with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as file:
                file.write(self._job["secrets"])
            return

    def _close_connections(self) -> None:
        """End the shared connections of Ansible, which otherwise stay open for a minute."""
        for socket in (self._folder / "c").glob("*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )


def _tell(event: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(event) + "\n")
    sys.stderr.flush()


def main() -> None:
    """Read the job, carry it out."""
    die_with_parent()
    run = Run(json.load(sys.stdin))
    signal.signal(signal.SIGTERM, run.stop)
    signal.signal(signal.SIGINT, run.stop)
    run.go()


if __name__ == "__main__":
    main()

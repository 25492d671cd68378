"""The stand-in for a person: `python -m tests.standins.proxmox --port 8006`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from . import ProxmoxStandIn, SchemaMissingError


def main() -> int:
    """Run until interrupted; the first lines say how to reach it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.standins.proxmox",
        description="A Proxmox VE API on a port of this machine, with a template to clone.",
        epilog="example: curl -k -H 'Authorization: PVEAPIToken=...' URL/api2/json/nodes",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--real-disks", action="store_true", help="disks are qemu-img files")
    parser.add_argument("--task-seconds", type=float, default=0.5, help="how long a task takes")
    given = parser.parse_args()
    try:
        standin = ProxmoxStandIn(
            port=given.port, real_disks=given.real_disks, task_seconds=given.task_seconds
        )
        with standin:
            standin.add_template()
            sys.stdout.write(
                f"url:         {standin.url}\n"
                f"fingerprint: {standin.fingerprint}\n"
                f"certificate: {standin.certificate}\n"
                f"token:       {standin.token}\n"
                f"login:       {standin.user} / {standin.password}\n"
                f"control:     {standin.url}/standin/calls\n"
            )
            sys.stdout.flush()
            stop = threading.Event()
            for one in (signal.SIGINT, signal.SIGTERM):
                signal.signal(one, lambda *_: stop.set())
            stop.wait()
    except (SchemaMissingError, OSError) as fault:
        sys.stderr.write(f"Unable to start the stand-in: {fault}\n")
        return 1
    return 0


sys.exit(main())

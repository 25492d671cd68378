"""The stand-in as a program, for a person and for tests in other processes."""

import signal
import ssl
import subprocess
import sys
import urllib.request


def test_it_says_how_to_reach_it_and_ends_when_told(repository):
    command = [sys.executable, "-m", "tests.standins.proxmox", "--port", "0"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as running:
        said = {}
        for line in running.stdout:
            key, _, value = line.strip().partition(": ")
            said[key] = value.strip()
            if key == "control":
                break
        assert len(said["fingerprint"].split(":")) == 32
        request = urllib.request.Request(
            f"{said['url']}/api2/json/nodes/pve1/qemu/9000/config",
            headers={"Authorization": f"PVEAPIToken={said['token']}"},
        )
        context = ssl.create_default_context(cafile=said["certificate"])
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            assert b'"template":1' in answer.read()
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0

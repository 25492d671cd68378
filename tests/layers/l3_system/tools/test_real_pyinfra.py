"""Deploys on a real host, through pyinfra, over real SSH."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.errors import DriverError, Interrupted, TransportError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("pyinfra") is None,
        reason="needs pyinfra: pip install 'strata-lab[pyinfra]'",
    ),
]

CANARY = "xq7-canary-Wp8"
SHM = Path("/dev/shm")
WEB = """
from io import StringIO

from pyinfra import host
from pyinfra.facts.server import LinuxName
from pyinfra.operations import files, server

if host.get_fact(LinuxName) == "Debian":
    files.directory(name="Make a folder", path="/srv/web", mode="750")
page = files.put(
    name="Write the page", src=StringIO(f"{host.data.word} {host.name}\\n"), dest="/srv/web/page"
)
files.put(name="Copy a file", src="files/a.txt", dest="/srv/web/a.txt")
for number in range(10):
    files.line(name=f"Line {number}", path="/srv/web/conf", line=f"key{number} = 1")
server.shell(name="Reload", commands=["echo reloaded >> /srv/web/log"], _if=page.did_change)
"""


def deploy(code: str, data: str = "{}", **files: str) -> dict[str, str]:
    return {
        "personas/web.yaml": f"system: {{deploys: [{{deploy: deploys/web.py, data: {data}}}]}}\n",
        "personas/web/deploys/web.py": code,
        **files,
    }


def web(word: str = "hi") -> dict[str, str]:
    return deploy(WEB, f"{{word: {word}}}", **{"personas/web/deploys/files/a.txt": "a\n"})


def test_a_deploy_converges_and_what_drifts_is_named(make, errand_host):
    errand_host.run("rm -rf /srv/web")
    errand = make(web())
    first = errand.converge()
    names = [c.what for c in first.changes]
    assert names[:3] == [
        "operation web.py: Make a folder",
        "operation web.py: Write the page",
        "operation web.py: Copy a file",
    ]
    assert names[-1] == "operation web.py: Reload"  # as the page would have changed
    assert [what for event, what in errand.told if event == "done"] == names
    assert errand_host.run("cat /srv/web/page /srv/web/log") == "hi web1\nreloaded\n"
    assert not errand.plan()
    errand_host.run("chmod 755 /srv/web; sed -i /key7/d /srv/web/conf")
    drifted = errand.converge()
    assert [c.what for c in drifted.changes] == [
        "operation web.py: Make a folder",
        "operation web.py: Line 7",
    ]
    (commands,) = drifted.changes[1].fields
    assert (commands.before, commands.after) == (0, 1)
    assert "key7 = 1" in commands.text
    assert not errand.plan()


def run_worker(errand, **changed):
    """The program itself, to see how often it asks."""
    from layers.l3_system.drivers.pyinfra import driver

    inputs = errand.target.inputs
    known = errand.workspace.root / "known"
    known.write_text(f"[{inputs.address}]:{inputs.port} {inputs.host_key}\n")
    job = {
        "deploy": str(errand.workspace.root / "personas/web/deploys/web.py"),
        "host": "web1",
        "groups": [],
        "sudo": True,
        "sudo_password": None,
        "rehearse": True,
        "batching": True,
        "data": {
            "word": "hi",
            "ssh_hostname": inputs.address,
            "ssh_port": inputs.port,
            "ssh_user": inputs.user,
            "ssh_key": inputs.identity_file,
            "ssh_strict_host_key_checking": "yes",
            "ssh_known_hosts_file": str(known),
        },
        **changed,
    }
    worker = [sys.executable, "-P", driver._WORKER]
    done = subprocess.run(worker, input=json.dumps(job).encode(), capture_output=True, check=True)
    return json.loads(done.stdout)


def test_facts_are_asked_together_and_the_answer_is_that_of_one_by_one(make, errand_host):
    errand_host.run("rm -rf /srv/web; mkdir /srv/web; echo 'key3 = 1' > /srv/web/conf")
    errand = make(web())
    together, single = run_worker(errand), run_worker(errand, batching=False)
    assert together["steps"] == single["steps"]
    assert single["commands"] > 20
    assert together["commands"] <= 5


def test_what_runs_whatever_it_finds_runs_once_and_is_noted(make, errand_host):
    errand_host.run("rm -f /root/counted")
    code = (
        "from pyinfra.operations import server\n"
        "server.shell(name='Count', commands=['echo x >> /root/counted'])\n"
    )
    errand = make(deploy(code))
    assert [c.reason for c in errand.converge().changes] == ["it runs whatever it finds"]
    second = errand.plan()
    assert not second
    assert "operation web.py: Count" in second.notes[0]
    assert errand_host.run("cat /root/counted") == "x\n"


def test_a_failing_operation_is_told_with_its_last_words(make):
    code = (
        "from pyinfra.operations import server\n"
        "server.shell(name='Try', commands=['echo no way >&2; exit 3'])\n"
    )
    errand = make(deploy(code))
    with pytest.raises(DriverError) as caught:
        errand.converge()
    assert caught.value.message == "Unable to run operation web.py: Try on web1: no way."
    assert "personas/web/deploys/web.py" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("\nundefined\n", r"NameError: name 'undefined' is not defined .*web.py:2\)"),
        ("from pyinfra.operations import nothing\n", r"ImportError: .*web.py:1\)"),
        (
            "from pyinfra.operations import files\nfiles.put(src='no.txt', dest='/a')\n",
            r"No such file.*web.py:2\)",
        ),
        (
            "from pyinfra.operations import files\nfiles.directory(path='/a', colour='red')\n",
            r"web.py:2\)",
        ),
    ],
)
def test_a_mistake_in_a_deploy_is_told_with_its_line(make, code, says):
    with pytest.raises(DriverError, match=says) as caught:
        make(deploy(code)).plan()
    assert not any("Traceback" in line for line in caught.value.lines)


def test_another_host_key_is_refused(make, monkeypatch):
    from layers.l3_system.drivers import reach

    errand = make(web())
    monkeypatch.setattr(reach, "look", lambda *_: reach.There("/usr/bin/python3", "sudo", ""))
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGoMRpb1iluNtqVGuWtIrMC8BxEkYpLvJ3cn2EgXIAA"
    wrong = make(web(), host_key=key)
    with pytest.raises(TransportError, match="key"):
        wrong.plan()
    assert errand.plan() is not None


def test_a_host_that_cannot_be_reached_is_told_as_such(make):
    with pytest.raises(TransportError, match="nothing listens"):
        make(web(), port=1).plan()


def test_a_secret_reaches_the_host_and_nothing_else(
    make, errand_host, tmp_path, seen_of_processes, homeless
):
    code = (
        "from io import StringIO\nfrom pyinfra import host\nfrom pyinfra.operations import files\n"
        "files.put(name='Write', src=StringIO(host.data.word), dest='/etc/p.conf', mode='600')\n"
        "files.line(name='Add', path='/etc/q.conf', line=host.data.word)\n"
    )
    errand = make(deploy(code, "{word: !secret db}"), secrets={"db": CANARY})
    stop, found = threading.Event(), []

    def watch():
        while not stop.is_set():
            found.extend(line for line in seen_of_processes(CANARY) if "python" in line)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        plan = errand.converge()
        second = errand.plan()
    finally:
        stop.set()
        watcher.join()
    assert errand_host.run("cat /etc/p.conf") == CANARY
    assert found == []
    assert CANARY not in repr(plan) + repr(second) + repr(errand.said) + repr(errand.told)
    assert "(secret db)" in plan.changes[1].fields[0].text
    assert not second
    grep = ["grep", "-rlsF", CANARY, str(tmp_path), str(SHM)]
    assert subprocess.run(grep, capture_output=True, text=True, check=False).stdout == ""
    left = errand_host.run(f"journalctl --no-pager | grep -cF '{CANARY}' || true")
    assert left.strip() == "0"  # sudo writes down the command lines that it is given


WAIT = "from pyinfra.operations import server\nserver.shell(name='Wait', commands=['sleep 300'])\n"


def test_an_interrupted_run_ends_soon(make, seen_of_processes):
    errand = make(deploy(WAIT))
    plan = errand.plan()
    cancelled = errand.cancel_when("Wait")
    with pytest.raises(Interrupted):
        errand.apply(plan)
    assert time.monotonic() - cancelled() < 10
    assert seen_of_processes("pyinfra/worker.py") == []
    assert not list(SHM.glob("strata-errand-*"))


def test_a_killed_lab_takes_pyinfra_with_it(make, errand_host, seen_of_processes):
    errand_host.run("pkill sleep || true")
    errand = make(deploy(WAIT))
    plan = errand.plan()
    child = os.fork()
    if child == 0:
        errand.apply(plan)
        os._exit(1)
    until = time.monotonic() + 60
    while not seen_of_processes("pyinfra/worker.py") and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until = time.monotonic() + 20
    while seen_of_processes("pyinfra/worker.py") and time.monotonic() < until:
        time.sleep(0.1)
    assert seen_of_processes("pyinfra/worker.py") == []


def test_sudo_with_a_password(make, errand_host, asking_sudo):
    errand_host.run("rm -rf /srv/web")
    errand = make(web("asked"), secrets={"ops": asking_sudo}, sudo_password="ops")
    errand.converge()
    assert errand_host.run("cat /srv/web/page") == "asked web1\n"
    assert not errand.plan()

"""Roles and playbooks on a real host, through ansible-runner, over real SSH."""

import importlib.util
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lab.errors import DriverError, Interrupted, TransportError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("ansible_runner") is None,
        reason="needs Ansible: pip install 'strata-lab[ansible]'",
    ),
]

CANARY = "xq7-canary-Zt{{9}}"
SHM = Path("/dev/shm")


def role(tasks: str, persona: str = "r", **files: str) -> dict[str, str]:
    return {
        "personas/web.yaml": f"system: {{roles: [{persona}]}}\n",
        "roles/r/tasks/main.yml": tasks,
        **files,
    }


COPY = '- name: Write it\n  ansible.builtin.copy: {content: "{{ text }}", dest: /etc/r.conf}\n'


@pytest.mark.slow
def test_the_example_role_converges_and_what_drifts_is_named(
    make, repository, tmp_path, errand_host
):
    shutil.copytree(repository / "roles", tmp_path / "lab/roles")
    errand = make({"personas/web.yaml": "system: {roles: [hardening]}\n"})
    first = errand.plan()
    names = [c.what for c in first.changes]
    assert "task hardening: Set kernel options" in names
    assert names[-1] == "task hardening: Load kernel options"
    (content,) = first.changes[0].fields
    assert "+net.ipv4.conf.all.send_redirects = 0" in content.text
    errand.apply(first)
    assert [what for event, what in errand.told if event == "done"] == names
    second = errand.plan()
    assert not second
    assert not second.notes
    errand_host.run(
        "sed -i s/0700/0755/ /etc/login.defs; rm /etc/security/limits.d/60-hardening.conf"
    )
    drifted = errand.plan()
    assert [c.what for c in drifted.changes] == [
        "task hardening: Forbid core dumps",
        "task hardening: Make new homes private",
    ]
    errand.apply(drifted)
    assert not errand.plan()


def test_what_check_mode_cannot_tell_runs_once_and_is_noted(make, errand_host):
    errand = make(role("- name: Count\n  ansible.builtin.shell: echo x >> /root/counted\n"))
    errand_host.run("rm -f /root/counted")
    assert [c.reason for c in errand.converge().changes] == ["a dry run skips it"]
    second = errand.plan()
    assert not second
    assert "drift in these is not noticed: task r: Count" in second.notes[0]
    assert errand_host.run("cat /root/counted") == "x\n"


def test_what_always_changes_is_a_note_with_its_reason(make):
    persona = '{role: r, always_changes: {Count: "it has no memory"}}'
    tasks = "- name: Count\n  ansible.builtin.shell: 'true'\n  check_mode: false\n"
    errand = make(role(tasks, persona))
    assert errand.converge().changes
    second = errand.plan()
    assert not second
    assert second.notes == ("task r: Count says 'changed' at every run: it has no memory",)


def test_a_failing_task_is_told_in_its_own_words_with_its_place(make):
    tasks = "- name: Try\n  ansible.builtin.shell: echo so; echo no way >&2; exit 3\n"
    errand = make(role(tasks))
    with pytest.raises(DriverError) as caught:
        errand.converge()
    assert caught.value.message == "Unable to run task r: Try on web1: no way (status 3)."
    assert "roles/r/tasks/main.yml:1" in caught.value.hint
    assert caught.value.lines == ("no way", "so")
    assert errand.told == [("started", "task r: Try")]


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ("- name: X\n  no_such_module: {}\n", "couldn't resolve module/action 'no_such_module'"),
        ("- name: X\n  ansible.builtin.copy: {}\n  ansible.builtin.file: {}\n", "conflicting"),
        ("- include_tasks: nowhere.yml\n", "nowhere.yml"),
    ],
)
def test_a_mistake_in_a_role_is_told_without_a_traceback(make, tasks, says):
    with pytest.raises(DriverError) as caught:
        make(role(tasks)).plan()
    assert says in caught.value.message
    assert "roles/r/tasks/main.yml:1" in f"{caught.value.message}{caught.value.hint}"
    assert not any("Traceback" in line for line in caught.value.lines)


def test_a_role_that_is_nowhere_is_told(make):
    errand = make({"personas/web.yaml": "system: {roles: [some.where.else]}\n"})
    with pytest.raises(DriverError, match=r"the role 'some.where.else' was not found"):
        errand.plan()


def test_a_playbook_runs_with_its_folder_its_values_and_its_groups(make, errand_host):
    files = {
        "personas/web.yaml": "system:\n"
        "  playbooks: [{playbook: play/site.yml, vars: {word: hi}}]\n",
        "personas/web/play/site.yml": "- hosts: edge\n  gather_facts: false\n  tasks:\n"
        "    - name: Write\n      ansible.builtin.template: {src: a.j2, dest: /etc/play.conf}\n",
        "personas/web/play/templates/a.j2": "{{ word }} {{ strata_name }} {{ strata_persona }}\n",
    }
    errand = make(files, tags=("edge",))
    assert [c.what for c in errand.converge().changes] == ["task site.yml: Write"]
    assert errand_host.run("cat /etc/play.conf") == "hi web1 web\n"
    assert not errand.plan()


def test_a_playbook_for_other_hosts_is_an_error_and_not_an_empty_plan(make):
    files = {
        "personas/web.yaml": "system: {playbooks: [play/site.yml]}\n",
        "play/site.yml": "- hosts: databases\n  tasks: []\n",
    }
    with pytest.raises(DriverError, match="none of its plays is for web1") as caught:
        make(files).plan()
    assert "web" in caught.value.hint


def test_only_tasks_with_the_tags_run(make):
    tasks = (
        "- name: One\n  ansible.builtin.copy: {content: x, dest: /etc/one}\n  tags: [one]\n"
        "- name: Two\n  ansible.builtin.copy: {content: x, dest: /etc/two}\n"
    )
    plan = make(role(tasks, "{role: r, tags: [one]}")).plan()
    assert [c.what for c in plan.changes] == ["task r: One"]


def test_another_host_key_is_refused(make):
    errand = make(role(COPY))
    other = errand.target.inputs.host_key.replace(
        "AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAIB"
    )
    wrong = make(role(COPY), host_key=other[: len(errand.target.inputs.host_key)])
    with pytest.raises(TransportError):
        wrong.plan()


def test_a_host_that_cannot_be_reached_is_told_as_such(make):
    with pytest.raises(TransportError, match="nothing listens"):
        make(role(COPY), port=1).plan()


def test_a_host_without_python_is_a_blocker_that_says_what_to_add(make, errand_host):
    errand_host.run("mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        plan = make(role(COPY)).plan()
    finally:
        errand_host.run("mv /usr/bin/python3.away /usr/bin/python3")
    assert [b.what for b in plan.blockers] == ["role r"]
    assert "packages: [python3]" in plan.blockers[0].hint


def wait_until(true, seconds=20):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def ansible_of(seen_of_processes):
    """Processes of Ansible, its connections included, that still run."""
    return seen_of_processes("strata-errand-")


def watched(stop, found, seen_of_processes):
    """Look for the canary wherever others could see it, as long as the run lasts."""
    while not stop.is_set():
        found += seen_of_processes(CANARY)
        for path in SHM.glob("strata-errand-*/**/*"):
            in_ansibles_memory = "/t/" in str(path)  # a template on its way to the host
            try:
                if path.is_file() and not in_ansibles_memory and CANARY in path.read_text():
                    found.append(str(path))
            except (OSError, UnicodeDecodeError):
                continue
        time.sleep(0.02)


def test_a_secret_reaches_the_host_and_nothing_else(
    make, errand_host, tmp_path, seen_of_processes, homeless
):
    persona = "{role: r, vars: {text: !secret db}}"
    command = (
        "- name: Give it to a command\n"
        '  ansible.builtin.command: {cmd: cat, stdin: "{{ text }}"}\n'
        "  changed_when: false\n"
    )
    errand = make(role(COPY + command, persona), secrets={"db": CANARY})
    stop, found = threading.Event(), []
    watcher = threading.Thread(target=watched, args=(stop, found, seen_of_processes))
    watcher.start()
    try:
        plan = errand.converge()
        second = errand.plan()
    finally:
        stop.set()
        watcher.join()
    assert errand_host.run("cat /etc/r.conf") == CANARY  # it was used, and not as a template
    assert found == []
    assert CANARY not in repr(plan) + repr(second) + repr(errand.said) + repr(errand.told)
    assert not second
    grep = ["grep", "-rlsF", CANARY, str(tmp_path), str(SHM)]
    assert subprocess.run(grep, capture_output=True, text=True, check=False).stdout == ""
    left = errand_host.run(f"journalctl --no-pager | grep -cF '{CANARY}' || true")
    assert left.strip() == "0"
    gone = errand_host.run(f"grep -rlsF '{CANARY}' /tmp /var/tmp /home /root || true")
    assert gone == ""


def test_a_failure_tells_no_secret(make):
    tasks = '- name: Try\n  ansible.builtin.shell: "echo {{ text | quote }} >&2; exit 1"\n'
    errand = make(role(tasks, "{role: r, vars: {text: !secret db}}"), secrets={"db": CANARY})
    with pytest.raises(DriverError) as caught:
        errand.converge()
    assert CANARY not in f"{caught.value} {caught.value.lines} {caught.value.__context__}"
    assert "(secret db)" in caught.value.message


def test_an_interrupted_run_ends_soon_and_leaves_nothing(make, seen_of_processes):
    errand = make(role("- name: Wait\n  ansible.builtin.command: sleep 300\n"))
    plan = errand.plan()
    cancelled = errand.cancel_when("task r: Wait")
    with pytest.raises(Interrupted):
        errand.apply(plan)
    assert time.monotonic() - cancelled() < 10
    assert not list(SHM.glob("strata-errand-*"))
    wait_until(lambda: not ansible_of(seen_of_processes))


def test_a_killed_lab_takes_ansible_with_it_and_the_next_run_sweeps(
    make, errand_host, seen_of_processes
):
    errand = make(role("- name: Wait\n  ansible.builtin.command: sleep 300\n"))
    plan = errand.plan()
    child = os.fork()
    if child == 0:
        errand.apply(plan)
        os._exit(1)
    wait_until(lambda: "sleep 300" in errand_host.run("ps -ef || true"))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_until(lambda: not ansible_of(seen_of_processes))
    assert list(SHM.glob("strata-errand-*"))  # nobody was left to remove it
    errand.plan()
    assert not list(SHM.glob("strata-errand-*"))


def test_sudo_with_a_password(make, errand_host, asking_sudo):
    wrong = make(role(COPY.replace("{{ text }}", "x")), secrets={"ops": "no"}, sudo_password="ops")
    with pytest.raises(DriverError, match="password"):
        wrong.plan()
    right = make(
        role(COPY.replace("{{ text }}", "by root")),
        secrets={"ops": asking_sudo},
        sudo_password="ops",
    )
    right.converge()
    assert errand_host.run("cat /etc/r.conf") == "by root"
    assert not right.plan()

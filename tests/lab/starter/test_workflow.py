"""The workflow that `lab init` writes: its steps are carried out as a runner would."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from lab.cli import main

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = {
    "lab.yaml": "name: home\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": "image: {base: debian-13}\n"
    "machine: {memory: 1GiB, disks: {root: {size: 8GiB}}}\n"
    "system:\n  packages: [curl]\n",
    "inventory/hosts.yaml": "hosts:\n"
    "  web1: {persona: web, provider: box}\n  web2: {persona: web, provider: box}\n",
}


@pytest.fixture
def workflow(tmp_path, capsys):
    assert main.run(["init", str(tmp_path / "new"), "--name", "home"]) == 0
    return tmp_path / "new/.gitea/workflows/plan.yaml"


@contextmanager
def forge():
    """A forge that takes comments."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", posts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Runner:
    """Carries a job out: a checkout, then the shell steps, with what the forge knows put in."""

    def __init__(self, base, known):
        self.base, self.known = base, known
        (base / "bin").mkdir()
        lab = base / "bin/lab"
        lab.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m lab.cli "$@"\n')
        lab.chmod(0o755)

    def text(self, value):
        return re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda found: self.known[found[1]], value)

    def run(self, job, remote, commit):
        where = self.base / f"job-{commit[:7]}"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["fetch-depth"] == 0  # else there is nothing to compare with
                self.git("clone", "-q", str(remote), str(where))
                self.git("-C", str(where), "checkout", "-q", "--detach", commit)
                continue
            env = {k: self.text(v) for k, v in step.get("env", {}).items()}
            script = self.base / "step.sh"
            script.write_text(self.text(step["run"]))
            path = f"{self.base}/bin:{os.environ['PATH']}"
            env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **env, "PATH": path}
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
            done = subprocess.run(
                shell, cwd=where, env=env, check=False, capture_output=True, text=True, timeout=60
            )
            if done.returncode:
                return done.returncode, done.stderr
        return 0, (where / "plan.md").read_text()

    def git(self, *words):
        subprocess.run(["git", *words], check=True, capture_output=True)


@pytest.fixture
def pulled(tmp_path, workflow):
    """A lab in a bare repository, its workflow, and a way to ask for a pull request's commit."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl: sudo apt-get install curl")
    work, bare = tmp_path / "work", tmp_path / "home.git"
    git = ["git", "-C", str(work), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for name, text in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)

    def commit(branch, name="lab.yaml", old="", new=""):
        path = work / name
        path.write_text(path.read_text().replace(old, new))
        for words in (["add", "-A"], ["commit", "-qm", branch, "--allow-empty"]):
            subprocess.run([*git, *words], check=True)
        subprocess.run([*git, "push", "-q", str(bare), f"HEAD:refs/heads/{branch}"], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True)
        return head.stdout.decode().strip()

    commit("main")
    return bare, commit, yaml.safe_load(workflow.read_text())


def known(url):
    return {
        "github.base_ref": "main",
        "github.api_url": f"{url}/api/v1",
        "github.repository": "me/home",
        "github.event.number": "7",
        "secrets.GITHUB_TOKEN": "t0ken",
    }


def test_it_is_a_workflow_for_pull_requests_of_ones_own(workflow):
    said = yaml.safe_load(workflow.read_text())
    assert said["name"] == "plan"
    assert said[True] == ["pull_request"]  # YAML 1.1 reads `on` so
    (job,) = said["jobs"].values()
    assert "head.repo.full_name == github.repository" in job["if"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert "${{" not in step.get("run", "")  # names of branches never become a script


def test_a_pull_request_gets_the_plan_of_what_it_changes(pulled, tmp_path):
    bare, commit, said = pulled
    head = commit("idea", "personas/web.yaml", "[curl]", "[curl, htop]")
    with forge() as (url, posts):
        code, plan = Runner(tmp_path, known(url)).run(said["jobs"]["plan"], bare, head)
    assert code == 0, plan
    ((path, login, body),) = posts
    assert path == "/api/v1/repos/me/home/issues/7/comments"
    assert login == "token t0ken"
    assert body["body"] == plan
    assert "web1" in plan
    assert "htop" in plan


def test_a_pull_request_with_a_mistake_fails_and_posts_nothing(pulled, tmp_path):
    bare, commit, said = pulled
    head = commit("idea", "personas/web.yaml", "packages", "packges")
    with forge() as (url, posts):
        code, error = Runner(tmp_path, known(url)).run(said["jobs"]["plan"], bare, head)
    assert code == 1
    assert "personas/web.yaml:4:3: unknown key 'packges'" in error
    assert posts == []

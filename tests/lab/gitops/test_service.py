"""The systemd service that `lab gitops install --poll` writes, run by a real systemd."""

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
UNIT = "strata-home-gitops.service"
NEEDED = (
    "annotated_types", "click", "jinja2", "markdown_it", "markupsafe", "mdurl", "pydantic",
    "pydantic_core", "pygments", "rich", "typing_extensions.py", "typing_inspection", "yaml",
)  # fmt: skip
MODULES = ("_bz2", "_ctypes", "_hashlib", "_lzma", "_sqlite3", "_ssl", "zlib", "_uuid", "readline")
PYTHON = f"python3.{sys.version_info.minor}"

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def libraries(*programs):
    """What the loader needs for them, but for the C library itself."""
    found = set()
    for program in programs:
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        found |= set(re.findall(r"=> (/\S+)", said))
    return {f for f in found if not re.search(r"/lib(c|m|dl|pthread|rt|util)\.so", f)}


def luggage():
    """This Python with what `lab` needs, and git, as a tar file that is unpacked at /."""
    base = Path(sys.base_prefix)
    stdlib = base / "lib" / PYTHON
    program = Path(sys.base_prefix, "bin", PYTHON)
    modules = [p for name in MODULES for p in stdlib.glob(f"lib-dynload/{name}.*.so")]
    where = "import site; print(site.getsitepackages()[0])"
    said = subprocess.run([program, "-c", where], capture_output=True, text=True, check=True)
    packages = Path(said.stdout.strip())  # Debian's Python has it elsewhere
    there = Path(pytest.__file__).resolve().parents[1]
    out = io.BytesIO()

    def plain(member):
        parts = Path(member.name).parts
        skipped = {"__pycache__", "test", "tests", "idlelib", "site-packages", "ensurepip"}
        inside = member.name.startswith(str(packages).lstrip("/") + "/")
        gone = skipped - ({"site-packages"} if inside else set())
        return None if gone & set(parts) or "config-3" in member.name else member

    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(program)
        tar.add(stdlib, filter=plain)
        for name in NEEDED:
            tar.add(there / name, packages / name, filter=plain)
        for name in ("lab", "layers"):
            tar.add(REPOSITORY / name, packages / name, filter=plain)
        for library in libraries(program, *modules, "/usr/bin/git"):
            where = Path(library)
            real = where if where.is_relative_to(base) else where.parent.resolve() / where.name
            tar.add(where.resolve(), real)
        tar.add("/usr/bin/git")
        tar.add("/usr/lib/git-core")
    return out.getvalue(), program


@pytest.fixture(scope="module")
def runner(sandbox):
    """A host with systemd on which `lab` is installed, with a lab in a repository."""
    host = sandbox.host("runner")
    packed, program = luggage()
    subprocess.run(
        ["docker", "--host", host.engine, "exec", "-i", host.container,
         "tar", "-x", "-C", "/", "--skip-old-files", "--keep-directory-symlink", "-f", "-"],
        input=packed, check=True, timeout=120,
    )  # fmt: skip
    host.run(f"""set -e; ldconfig
printf '#!/bin/sh\\nexec {program} -P -m lab.cli "$@"\\n' >/usr/local/bin/lab
chmod 755 /usr/local/bin/lab
git config --global user.name me; git config --global user.email me@example.org
mkdir -p /srv/work/personas /srv/work/inventory; cd /srv/work
git init -q -b main; git init -q --bare -b main /srv/home.git
printf 'name: home\\nproviders:\\n  box: {{kind: memory}}\\n' >lab.yaml
printf 'image: {{base: debian-13}}\\n' >personas/web.yaml
printf 'machine: {{memory: 1GiB, disks: {{root: {{size: 8GiB}}}}}}\\n' >>personas/web.yaml
printf 'system:\\n  packages: [curl]\\n' >>personas/web.yaml
printf 'hosts:\\n  web1: {{persona: web, provider: box}}\\n' >inventory/hosts.yaml
git add -A; git commit -qm first; git push -q /srv/home.git main
""")
    return host


def pushed(host, package):
    host.run(f"""set -e; cd /srv/work; sed -i 's/\\[curl.*/[curl, {package}]/' personas/web.yaml
git commit -qam {package}; git push -q /srv/home.git main""")


def test_the_unit_is_right_and_the_service_follows_resumes_and_ends(runner):
    said = runner.run("cd /srv/work; lab gitops install --poll /srv/home.git --every 1s 2>&1")
    assert f"Enabled /etc/systemd/system/{UNIT}" in said
    assert runner.run(f"systemd-analyze verify /etc/systemd/system/{UNIT} 2>&1") == ""
    text = runner.run(f"cat /etc/systemd/system/{UNIT}; stat -c %a /etc/systemd/system/{UNIT}")
    assert 'Environment="HOME=/root"' in text
    assert text.endswith("644\n")

    waited = runner.run("cd /srv/work; lab wait HEAD --for 1m")
    assert "applied: " in waited, runner.run(f"journalctl -u {UNIT} --no-pager")
    pushed(runner, "htop")
    assert "1 change made on web1" in runner.run("cd /srv/work; lab wait HEAD --for 1m")

    # killed in the middle of a run, by itself: systemd knows, and the next start resumes
    runner.run(f"""systemctl set-environment STRATA_FAULT=engine.l3_system.after_apply
systemctl restart {UNIT}""")
    pushed(runner, "vim")
    state = f"systemctl show -p Result --value {UNIT}"
    runner.run(f"""for i in $(seq 300); do
[ "$({state})" != signal ] || break; sleep 0.1; done""")
    assert runner.run(state) == "signal\n"
    listed = runner.run("cd /srv/work; lab gitops status --json")
    assert '"state": "running"' in listed
    assert '"behind": true' in listed
    runner.run(f"systemctl unset-environment STRATA_FAULT; systemctl restart {UNIT}")
    assert "applied: " in runner.run("cd /srv/work; lab wait HEAD --for 1m")

    assert runner.run(f"systemctl stop {UNIT}; {state}") == "success\n"
    log = runner.run(f"journalctl -u {UNIT} -o cat --no-pager")
    assert "Traceback" not in log
    assert "+ package htop" in log

"""Where it may not install, ./bootstrap says exactly what to install and changes nothing."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

MISSING = {"STRATA_EXTRA_NEEDS": "no-such-program:the-package"}


@pytest.fixture
def checkout(repository):
    """Just what bootstrap reads, where another user may look; no .venv, so it has work to do."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        for name in ("bootstrap", "justfile", "pyproject.toml", "constraints.txt"):
            shutil.copy(repository / name, place / name)
        yield place


def run(checkout, prefix=()):
    before = sorted(p.name for p in checkout.iterdir())
    done = subprocess.run(
        [*prefix, str(checkout / "bootstrap"), "demo"],
        env={**os.environ, **MISSING},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert sorted(p.name for p in checkout.iterdir()) == before, "something was changed"
    return done


def test_another_user_on_debian_gets_the_line_to_type(checkout):
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = run(checkout, other if os.geteuid() == 0 else ())
    assert done.returncode == 5
    assert "Try: sudo apt-get install --no-install-recommends" in done.stderr
    assert "the-package" in done.stderr


def test_another_distribution_gets_the_names(checkout, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can show it another /etc/os-release")
    release = tmp_path / "os-release"
    release.write_text("ID=fedora\n")
    script = f'mount --bind {release} /etc/os-release && exec "$@"'
    done = run(checkout, ("unshare", "--mount", "sh", "-c", script, "sh"))
    assert done.returncode == 5
    assert "Nothing was changed" in done.stderr
    assert "the-package" in done.stderr
    assert "apt-get" not in done.stderr


@pytest.mark.parametrize(
    ("engine", "slow", "expected"), [(0, 0, 0), (5, 5, 0), (1, 0, 1), (0, 1, 1)]
)
def test_the_slow_tests_exit_as_the_worse_of_both_halves(checkout, engine, slow, expected):
    """Nobody left to kill when the recipe ends is no failure."""
    programs = checkout / ".venv/bin"
    programs.mkdir(parents=True)
    pytest_there = programs / "pytest"
    pytest_there.write_text(f'#!/bin/sh\n[ "$2" = engine ] && exit {engine}\nexit {slow}\n')
    pytest_there.chmod(0o755)
    just = shutil.which("just")
    assert just is not None
    done = subprocess.run(
        [just, "--justfile", str(checkout / "justfile"), "test-slow"],
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == expected

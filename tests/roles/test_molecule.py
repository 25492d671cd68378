"""The example role under Molecule: converged, converged again without a change, and looked at."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("molecule") is None,
        reason="needs Molecule: pip install 'strata-lab[ansible,peers]'",
    ),
]


def test_the_example_role_passes_its_own_scenario(sandbox, repository, tmp_path):
    host = sandbox.host("molecule")
    known = tmp_path / "known_hosts"
    known.write_text(f"[{host.address}]:{host.port} {host.host_key}\n")
    done = subprocess.run(
        [sys.executable, "-m", "molecule", "test"],
        cwd=repository / "roles/hardening",
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "NO_COLOR": "1",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",  # its socket's path would be too long
            "SANDBOX_ADDRESS": host.address,
            "SANDBOX_PORT": str(host.port),
            "SANDBOX_USER": host.user,
            "SANDBOX_KEY": host.identity_file,
            "SANDBOX_KNOWN_HOSTS": str(known),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("converge", "idempotence", "verify"):
        assert f"default > {step}: Executed: Successful" in done.stdout + done.stderr

"""What every test needs: private XDG folders, so that no test sees or touches a real lab."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _private_folders(tmp_path_factory, monkeypatch):
    base = tmp_path_factory.mktemp("xdg")
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(base / name.lower()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
    for name in ("NO_COLOR", "STRATA_FAULT", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab_dir(tmp_path):
    """Write a lab: ``lab_dir({"lab.yaml": "...", ...})`` returns its root."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.fixture
def repository():
    """The checkout's root."""
    return Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item):
    """Say what is missing instead of failing; in CI what can be installed must be there."""
    needs = {
        "vm": ("qemu-system-x86_64", "qemu-img", "mcopy", "ssh"),
        "build": ("mmdebstrap", "mcopy", "sfdisk", "qemu-img"),
    }
    for marker, programs in needs.items():
        if item.get_closest_marker(marker):
            missing = [p for p in programs if shutil.which(p) is None]
            if missing and os.environ.get("CI") == "true":
                pytest.fail(f"in CI {', '.join(missing)} must be there: ./bootstrap installs it")
            if missing:
                pytest.skip(f"needs {', '.join(missing)}: ./bootstrap installs it")

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


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The qcow2 of the example lab's web hosts; built where no earlier session kept one."""
    repository = Path(__file__).resolve().parents[1]
    kept = repository / ".test-cache/images"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("template")))
        from lab import Lab

        with Lab.load(repository) as lab:
            target = lab.plan("host=web1", layer="l1").handed["web1"]
            path = kept / str(target["template_name"]) / "disk.qcow2"
            if not path.exists():
                report = lab.converge("host=web1", layer="l1")
                assert report.exit_code == 0, [p.failure for p in report.parts]
                shutil.copytree(lab.workspace.state / "images", kept, dirs_exist_ok=True)
    return path


def pytest_runtest_setup(item):
    """Say what is missing instead of failing; in CI what can be installed must be there."""
    needs = {
        "vm": ("qemu-system-x86_64", "qemu-img", "mcopy", "ssh"),
        "build": ("mmdebstrap", "mcopy", "sfdisk", "qemu-img"),
        "engine": ("mmdebstrap", "dockerd", "docker", "ssh"),
    }
    for marker, programs in needs.items():
        if item.get_closest_marker(marker):
            missing = [p for p in programs if shutil.which(p) is None]
            if missing and os.environ.get("CI") == "true":
                pytest.fail(f"in CI {', '.join(missing)} must be there: ./bootstrap installs it")
            if missing:
                pytest.skip(f"needs {', '.join(missing)}: ./bootstrap installs it")

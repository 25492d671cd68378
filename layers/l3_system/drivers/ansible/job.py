"""What the worker is told: files in a folder in memory, arguments, settings, secrets."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from lab.errors import DriverError
from lab.layer import Target
from lab.model.files import LabFile
from layers.l3_system.drivers import reach
from layers.l3_system.drivers.ansible import inventory
from layers.l3_system.drivers.ansible.inventory import AnsibleErrand
from layers.l3_system.spec import Inputs
from layers.l3_system.spec.errands import RolesErrand
from layers.l3_system.spec.handed import roles_path

AnsibleTarget = Target[AnsibleErrand, Inputs]

_HERE = Path(__file__).parent


def job(
    root: Path, target: AnsibleTarget, python: str, folder: Path, *, check: bool
) -> dict[str, Any]:
    """One run of one errand; ``folder`` is private, and in memory."""
    errand = target.spec
    to = reach.endpoint(target)
    hosts = inventory.inventory(target.host, to, reach.known_hosts(to, folder), python)
    values = inventory.extra_variables(errand)
    if isinstance(errand, RolesErrand):
        playbook = _write(folder / "roles", inventory.play(errand))
    else:
        playbook = str(root / errand.playbook.playbook.main.path)
    arguments = [*(["--check"] if check else []), "--diff"]
    arguments += ["-e", f"@{_write(folder / 'values.json', values)}"] if values else []
    arguments += ["--tags", ",".join(errand.tags)] if errand.tags else []
    secrets = inventory.secrets_of(errand, target.host, to)
    if secrets:
        arguments += ["-e", f"@{folder / 'secrets'}"]
    revealed = {name: secret.reveal() for name, secret in secrets.items()}
    (folder / "c").mkdir()
    return {
        "folder": str(folder),
        "project": str(root),
        "playbook": playbook,
        "inventory": _write(folder / "inventory.json", hosts),
        "arguments": shlex.join(arguments),
        "environment": _environment(root, target, folder),
        "secrets": inventory.secrets_document(revealed),
    }


def _environment(root: Path, target: AnsibleTarget, folder: Path) -> dict[str, str]:
    """Ansible's settings: the lab's ansible.cfg, no other, and what must be so."""
    errand = target.spec
    configuration = root / "ansible.cfg"
    configured: tuple[str, ...] = ()
    if configuration.exists():
        configured = roles_path(LabFile("ansible.cfg", configuration.read_bytes()))
    else:
        configuration = folder / "ansible.cfg"
        configuration.touch()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_ROLES_PATH": inventory.roles_path(errand, target.host, root, configured),
        "ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback_plugins"),
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_BECOME": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_TIMEOUT": "30",
        "ANSIBLE_NO_TARGET_SYSLOG": "True",  # modules write their arguments into it
        "ANSIBLE_LOG_PATH": "/dev/null",
        "ANSIBLE_LOCAL_TEMP": str(folder / "t"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "c"),
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_NOCOLOR": "True",
    }
    if errand.options.strategy == "mitogen":
        environment |= _mitogen(target)
    return environment


def _mitogen(target: AnsibleTarget) -> dict[str, str]:
    require("ansible_mitogen", "peers", target)
    spec = importlib.util.find_spec("ansible_mitogen")
    folder = Path(spec.origin if spec is not None and spec.origin else "").parent
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(folder / "plugins/strategy"),
    }


def _write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def require(module: str, extra: str, target: AnsibleTarget) -> None:
    """Raise DriverError where a library is not installed, with the line that installs it."""
    if importlib.util.find_spec(module) is None:
        raise DriverError(
            f"Unable to run {title(target)} on {target.host.name}: "
            f"{module.replace('_', '-')} is not installed here.",
            hint=f"pip install 'strata-lab[{extra}]'",
        )


def title(target: AnsibleTarget) -> str:
    """What it is about, for messages."""
    return ", ".join(name for name, _ in target.spec.pieces)

"""``unattended_upgrades``: security updates install themselves, by Debian's own means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.software import UnattendedUpgrades

NAME = "unattended_upgrades"
_CONF = "/etc/apt/apt.conf.d"
_PERIODIC = """APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""


def expand(system: System) -> Mapping[str, Any]:
    """The package, when it runs, what it takes, and the timers that start it."""
    wanted = system.unattended_upgrades
    if wanted is None:
        return {}
    return {
        "packages": ["unattended-upgrades"],
        "files": {
            f"{_CONF}/20auto-upgrades": {"content": _PERIODIC},
            f"{_CONF}/52strata-unattended-upgrades": {"content": _settings(wanted)},
        },
        "services": {"apt-daily.timer": "running", "apt-daily-upgrade.timer": "running"},
    }


def _settings(wanted: UnattendedUpgrades) -> str:
    """Comes after the package's own 50unattended-upgrades, and so has the last word."""
    lines = []
    if wanted.origins:
        lines += [f"#clear Unattended-Upgrade::{name};" for name in _LISTS]
        for name in _LISTS:
            origins = [o for o in wanted.origins if ("=" in o) == (name == _LISTS[0])]
            lines += [f'Unattended-Upgrade::{name}:: "{origin}";' for origin in origins]
    reboot = "true" if wanted.reboot else "false"
    lines.append(f'Unattended-Upgrade::Automatic-Reboot "{reboot}";')
    if isinstance(wanted.reboot, str):
        lines.append(f'Unattended-Upgrade::Automatic-Reboot-Time "{wanted.reboot}";')
    if wanted.mail is not None:
        lines.append(f'Unattended-Upgrade::Mail "{wanted.mail}";')
    return "".join(f"{line}\n" for line in lines)


_LISTS = ("Origins-Pattern", "Allowed-Origins")

"""``cron``: lines of a crontab as timers of systemd, at the very same times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.recipes import timers
from layers.l3_system.spec import System
from layers.l3_system.spec.timer import Timer

NAME = "cron"


def expand(system: System) -> Mapping[str, Any]:
    """As under ``timers``; what was missed while the host was off is not made up for."""
    jobs = {
        name: Timer(
            command=job.command,
            on_calendar=job.calendars,
            persistent=False,
            user=None if job.user == "root" else job.user,
        )
        for name, job in system.cron.items()
    }
    return timers.jobs(NAME, jobs, accuracy="1s")

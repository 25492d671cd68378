"""``timers``: a service that does it once, and a timer that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.recipes.units import unit_file
from layers.l3_system.spec import System, unit_name
from layers.l3_system.spec.cron import shell_line
from layers.l3_system.spec.timer import Timer

NAME = "timers"
_COMMENT = "# written by Strata from {key} {name}\n"


def expand(system: System) -> Mapping[str, Any]:
    """Two files and a running timer each; of a unit that is there already only the timer."""
    return jobs(NAME, system.timers)


def jobs(key: str, timers: Mapping[str, Timer], accuracy: str = "") -> dict[str, Any]:
    """The same for jobs that stand under another key; ``accuracy`` instead of a minute."""
    files: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for name, timer in timers.items():
        top = _COMMENT.format(key=key, name=name)
        if timer.command is not None:
            files |= unit_file(f"{name}.service", {"content": top + _service(name, timer)})
        content = top + _timer(name, timer, accuracy)
        files |= unit_file(f"{name}.timer", {"content": content}, timer.on_calendar)
        services[f"{name}.timer"] = "running"
    return {"files": files, "services": services}


def _service(name: str, timer: Timer) -> str:
    lines = ["[Unit]", f"Description={name}", "[Service]", "Type=oneshot"]
    lines += [f"User={timer.user}"] if timer.user is not None else []
    lines += [f'Environment="{k}={_quoted(v)}"' for k, v in timer.environment.items()]
    return "\n".join([*lines, f"ExecStart={shell_line(timer.command or '')}", ""])


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _timer(name: str, timer: Timer, accuracy: str) -> str:
    lines = ["[Unit]", f"Description={name}", "[Timer]"]
    lines += [f"OnCalendar={calendar}" for calendar in timer.on_calendar]
    lines += [f"Unit={unit_name(timer.unit)}"] if timer.unit is not None else []
    lines += ["Persistent=true"] if timer.persistent else []
    lines += [f"RandomizedDelaySec={timer.randomized_delay}"] if timer.randomized_delay else []
    lines += [f"AccuracySec={accuracy}"] if accuracy else []
    return "\n".join([*lines, "[Install]", "WantedBy=timers.target", ""])

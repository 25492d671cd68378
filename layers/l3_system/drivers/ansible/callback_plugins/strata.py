"""Tells the driver what Ansible does, a line of JSON an event, through a pipe that it names."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible import constants
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase

from lab.clients.child import die_with_parent

DOCUMENTATION = """
    name: strata
    type: notification
    short_description: tells Strata what Ansible does
    description: [Writes a line of JSON an event into the pipe that STRATA_EVENTS names.]
"""

_KEPT = (
    "msg",
    "reason",
    "stderr",
    "stdout",
    "module_stderr",
    "module_stdout",
    "rc",
    "diff",
    "skipped",
)


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Loaded whatever ansible.cfg says."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "strata"

    def __init__(self) -> None:
        super().__init__()
        die_with_parent()
        # open until this process ends
        self._pipe = open(os.environ["STRATA_EVENTS"], "w")  # noqa: PTH123, SIM115
        self._names: dict[str, str] = {}
        self._file = ""
        self._tell("start", pid=os.getpid(), local=str(constants.DEFAULT_LOCAL_TMP))

    def _tell(self, event: str, **more: Any) -> None:
        self._pipe.write(json.dumps({"event": event, **more}, default=str) + "\n")
        self._pipe.flush()

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """A playbook begins."""
        self._file = os.path.basename(playbook._file_name)  # noqa: PTH119, SLF001 (its only way)

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:  # noqa: ARG002, FBT001
        """A task begins; only now its name is without templates."""
        self._start(task, handler=False)

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """A handler begins."""
        self._start(task, handler=True)

    def _start(self, task: Task, *, handler: bool) -> None:
        self._names[task._uuid] = str(task.name or task.action)  # noqa: SLF001
        self._tell("task", **self._of(task), handler=handler)

    def _of(self, task: Task) -> dict[str, Any]:
        role = task._role  # noqa: SLF001
        return {
            "id": task._uuid,  # noqa: SLF001
            "name": self._names.get(task._uuid, str(task.name or task.action)),  # noqa: SLF001
            "of": role.get_name(include_role_fqcn=False) if role is not None else self._file,
            "path": task.get_path() or "",
        }

    def _result(self, status: str, result: CallbackTaskResult, *, ignored: bool = False) -> None:
        found = result.result
        self._tell(
            "result",
            **self._of(result.task),
            status=status,
            ignored=ignored,
            hidden=bool(found.get("_ansible_no_log")),
            changed=bool(found.get("changed")),
            found={k: found[k] for k in _KEPT if k in found},
            items=[
                {**{k: item[k] for k in _KEPT if k in item}, "changed": bool(item.get("changed"))}
                for item in found.get("results", ())
                if isinstance(item, dict)
            ],
        )

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """A task went well."""
        self._result("ok", result)

    def v2_runner_on_failed(
        self,
        result: CallbackTaskResult,
        ignore_errors: bool = False,  # noqa: FBT001, FBT002 (Ansible's signature)
    ) -> None:
        """A task failed."""
        self._result("failed", result, ignored=ignore_errors)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """A task was skipped."""
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """The host is gone."""
        self._result("unreachable", result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """The end."""
        self._tell(
            "end",
            hosts=sorted(stats.processed),
            failed=sum(stats.failures.values()),
            gone=sum(stats.dark.values()),
        )

"""Tasks: what the API starts and answers a UPID for, running before it is stopped."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .access import Identity
from .calls import ApiError, refused


class TaskError(Exception):
    """The task fails: the text becomes its exit status."""


class InterruptedTaskError(TaskError):
    """Somebody deleted the task while it ran."""

    def __init__(self) -> None:
        super().__init__("received interrupt")


@dataclass(eq=False)
class Task:
    """One task, from its start to its exit status."""

    node: str
    kind: str
    about: str
    who: Identity
    pid: int
    started: int
    begun: int
    upid: str
    log: list[str] = field(default_factory=list)
    exit_status: str | None = None
    ended: int | None = None
    seen_running: bool = False
    vanished: bool = False
    on_failure: Callable[[], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_running(self) -> bool:
        """Not stopped yet."""
        return self.exit_status is None

    def say(self, *lines: str) -> None:
        """Lines of the task's log."""
        self.log.extend(lines)

    def wait(self, seconds: float) -> None:
        """Let time go by; raises InterruptedTaskError when the task is deleted meanwhile."""
        if self.stop.wait(seconds):
            raise InterruptedTaskError

    def end(self, status: str) -> None:
        """The task is over with this status."""
        if self.exit_status is not None:
            return
        if status == "OK" or status.startswith("WARNINGS"):
            self.log.append(f"TASK {status}")
        else:
            self.log.append(f"TASK ERROR: {status}")
        self.ended = int(time.time())
        self.exit_status = status
        self.done.set()


Work = Callable[[Task], object]
Verdict = str | None


@dataclass
class Wish:
    """What shall happen to coming tasks of a kind: a fault on demand."""

    kind: str
    what: str  # hang, fail or vanish
    text: str = ""
    times: int | None = 1


class TaskBoard:
    """Every task of the cluster, and the threads that carry them out."""

    def __init__(self, lock: threading.RLock, seconds: float) -> None:
        self.seconds = seconds
        self.wishes: list[Wish] = []
        self.granted: list[tuple[str, str]] = []
        self._lock = lock
        self._tasks: dict[str, Task] = {}
        self._pids = itertools.count(0x80)
        self._boot = time.time() - 3000

    def start(
        self,
        node: str,
        kind: str,
        about: str,
        who: Identity,
        work: Work,
        *,
        slow: bool = False,
        on_failure: Callable[[], None] | None = None,
    ) -> str:
        """Start a task; `work` runs with the world locked, unless it is slow and locks itself."""
        now = time.time()
        pid, begun = next(self._pids), int((now - self._boot) * 100)
        upid = f"UPID:{node}:{pid:08X}:{begun:08X}:{int(now):08X}:{kind}:{about}:{who.name}:"
        task = Task(node, kind, about, who, pid, int(now), begun, upid)
        task.on_failure = on_failure
        self._tasks[upid] = task
        wish = self._wish(kind)
        threading.Thread(
            target=self._run, args=(task, work, slow, wish), name=upid, daemon=True
        ).start()
        return upid

    def find(self, upid: str) -> Task:
        """A task by its UPID; refuses as the API does."""
        if not re.fullmatch(r"UPID:[^:]+(:[0-9A-Fa-f]{8,9}){3}:[^:]+:[^:]*:[^:]+:", upid):
            raise ApiError(f"unable to parse worker upid '{upid}'")
        task = self._tasks.get(upid)
        if task is None or task.vanished:
            raise refused(upid="no such task")
        return task

    def all(self) -> list[Task]:
        """Every task, newest first."""
        return [task for task in reversed(self._tasks.values()) if not task.vanished]

    def settle(self, seconds: float = 30) -> None:
        """Wait until no task runs, except those that shall hang."""
        for task in list(self._tasks.values()):
            if not task.vanished and not task.done.wait(seconds):
                raise TimeoutError(task.upid)

    def close(self) -> None:
        """Interrupt what still runs."""
        for task in list(self._tasks.values()):
            task.stop.set()

    def status(self, task: Task) -> dict[str, Any]:
        """As `status` answers it: at least one answer says running."""
        found: dict[str, Any] = {
            "id": task.about,
            "node": task.node,
            "pid": task.pid,
            "pstart": task.begun,
            "starttime": task.started,
            "status": "running",
            "type": task.kind,
            "upid": task.upid,
            "user": task.who.user,
        }
        if task.who.token:
            found["tokenid"] = task.who.token
        if task.is_running or not task.seen_running:
            task.seen_running = True
        else:
            found |= {"status": "stopped", "exitstatus": task.exit_status}
        return found

    def _wish(self, kind: str) -> Wish | None:
        for wish in self.wishes:
            if wish.kind in {kind, "*"} and wish.times != 0:
                if wish.times is not None:
                    wish.times -= 1
                self.granted.append((kind, wish.what))
                return wish
        return None

    def _run(self, task: Task, work: Work, slow: bool, wish: Wish | None) -> None:  # noqa: FBT001
        try:
            task.wait(self.seconds)
            if wish:
                _meet(task, wish)
            if slow:
                result = work(task)
            else:
                with self._lock:
                    result = work(task)
        except (TaskError, ApiError) as fault:
            if task.on_failure:
                with self._lock:
                    task.on_failure()
            task.end(str(fault).rstrip("\n"))
        except Exception as fault:  # a bug in the stand-in shows up as the task's error
            task.end(f"stand-in: {type(fault).__name__}: {fault}")
            raise
        else:
            task.end(result if isinstance(result, str) else "OK")
        finally:
            if wish and wish.what == "vanish":
                task.vanished = True


def _meet(task: Task, wish: Wish) -> None:
    if wish.what == "hang":
        task.stop.wait()
        raise InterruptedTaskError
    if wish.what == "fail":
        *before, last = (wish.text or "the stand-in was told to fail").split("\n")
        task.say(*before)
        raise TaskError(last)


@contextlib.contextmanager
def saying(words: str) -> Iterator[None]:
    """What fails inside says these words first."""
    try:
        yield
    except (TaskError, ApiError) as fault:
        raise TaskError(f"{words}{fault}") from fault

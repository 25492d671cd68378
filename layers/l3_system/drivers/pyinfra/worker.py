"""A program: rehearses or runs one deploy of pyinfra on one host. Started by the driver.

A job comes as JSON on standard input; operations that begin and end are told as lines of JSON on
standard error, and the result as JSON on standard output. What the deploy prints is dropped.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import IO, Any

import pyinfra
from pyinfra import context
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.api.command import FileUploadCommand, PyinfraCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.operations import run_ops
from pyinfra.api.state import BaseStateCallback, StateOperationHostData, StateStage
from pyinfra.connectors.util import CommandOutput

from lab.clients.child import die_with_parent
from lab.clients.facts import WIRE, Link, Unknown, patch

_MOST_TRIPS = 40  # a deploy that needs more asks something new each time: then one by one
_SHOWN = 20


class Deploy:
    """One deploy on one host."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        with open(job["deploy"], "rb") as file:  # noqa: PTH123
            self._code = compile(file.read(), job["deploy"], "exec")

    def rehearse(self) -> tuple[State, list[dict[str, Any]]]:
        """What it would do; facts are asked until none is missing."""
        for _ in range(_MOST_TRIPS):
            state = self._load()
            steps = self._walk(state) if state is not None else []
            if not WIRE.wanted and state is not None:
                return state, steps
            WIRE.ask()
        WIRE.batching = False
        state = self._load()
        assert state is not None  # noqa: S101 (nothing is unknown when each fact is asked at once)
        return state, self._walk(state)

    def run(self, tell: Callable[..., None]) -> None:
        """Rehearse, then carry it out."""
        _, steps = self.rehearse()
        state = self._load()  # all of it is known now
        assert state is not None  # noqa: S101 (same)
        busy = {step["hash"] for step in steps}
        state.add_callback_handler(_Teller(self, tell, busy))
        WIRE.rehearsing = False
        state.set_stage(StateStage.Execute)
        context.ctx_state.set(state)
        run_ops(state)

    def name(self, state: State, op_hash: str) -> tuple[str, str]:
        """How an operation is called, uniquely in its deploy, and by its author."""
        counts: dict[str, int] = {}
        for known in state.get_op_order():
            meta = state.get_op_meta(known)
            bare = ", ".join(sorted(meta.names))
            if meta.args:
                bare = f"{bare} ({', '.join(meta.args)})"
            counts[bare] = number = counts.get(bare, 0) + 1
            if known == op_hash:
                break
        return (bare if number == 1 else f"{bare} ({number})"), bare

    def _load(self) -> State | None:
        """Execute the deploy's code; ``None`` where a fact stopped it."""
        inventory = Inventory(
            ([(self.job["host"], self.job["data"])], {}),
            **{group: ([self.job["host"]], {}) for group in self.job["groups"]},
        )
        for host in inventory:
            host.connector_cls = Link
        config = Config(SUDO=self.job["sudo"], CONNECT_TIMEOUT=30)
        state = State(inventory, config)
        state.cwd = os.getcwd()  # noqa: PTH109
        state.current_deploy_filename = state.current_exec_filename = self.job["deploy"]
        state.set_stage(StateStage.Prepare)
        (host,) = inventory
        context.ctx_state.set(state)
        context.ctx_inventory.set(inventory)
        context.ctx_config.set(config.copy())
        context.ctx_host.set(host)
        host.connect(raise_exceptions=True, show_errors=False)
        state.activate_host(host)
        try:
            exec(self._code, {"__file__": self.job["deploy"], "__name__": "deploy"})  # noqa: S102
        except Unknown:
            return None
        return state

    def _walk(self, state: State) -> list[dict[str, Any]]:
        """Every operation that would do something, as if those before it had been carried out."""
        (host,) = state.inventory
        steps = []
        for op_hash in state.get_op_order():
            data = state.get_op_data_for_host(host, op_hash)
            unseen, commands = self._commands(data)
            nothing = CommandOutput([])
            data.operation_meta.set_complete(
                success=True, commands=commands, combined_output=nothing
            )
            if op_hash in WIRE.repeats and not data.global_arguments.get("_if"):
                unseen = unseen or "it runs whatever it finds"
            if commands or unseen:
                name, bare = self.name(state, op_hash)
                shown = [_shown(command) for command in commands[:_SHOWN]]
                steps.append(
                    {
                        "hash": op_hash,
                        "name": name,
                        "bare": bare,
                        "count": len(commands),
                        "commands": shown,
                        "unseen": unseen,
                    }
                )
        return steps

    def _commands(self, data: StateOperationHostData) -> tuple[str, list[Any]]:
        """Why a rehearsal cannot tell, or ``""``; and what it would do."""
        conditions = data.global_arguments.get("_if")
        listed = conditions if isinstance(conditions, list) else [conditions]
        try:
            if not all(condition() for condition in listed if condition is not None):
                return "", []
        except Unknown:
            return "", []
        except Exception:  # noqa: BLE001 (users' code, which asks for what only a real run has)
            return "its condition is known only when it runs", []
        return "", list(data.command_generator())


def _shown(command: PyinfraCommand) -> str:
    """As it is run; of an upload only where it goes, as its source may have no name."""
    if isinstance(command, FileUploadCommand):
        return f"upload {command.dest}"
    return str(command)


class _Teller(BaseStateCallback):
    """Tells of operations as they are carried out."""

    def __init__(self, deploy: Deploy, tell: Callable[..., None], busy: set[str]) -> None:
        self._deploy, self._tell, self._busy = deploy, tell, busy
        self.failed = ""

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]  # noqa: ARG002
        """One begins; from the first that does something on, what was known is not any more."""
        if op_hash in self._busy:
            WIRE.known.clear()
            self._tell("start", self._deploy.name(state, op_hash)[0])

    def operation_host_success(  # type: ignore[override]
        self,
        state: State,
        host: Host,  # noqa: ARG002
        op_hash: str,
        retry_count: int = 0,  # noqa: ARG002
    ) -> None:
        """One is done."""
        if op_hash in self._busy:
            self._tell("done", self._deploy.name(state, op_hash)[0])

    def operation_host_error(  # type: ignore[override]
        self,
        state: State,
        host: Host,  # noqa: ARG002
        op_hash: str,
        retry_count: int = 0,  # noqa: ARG002
        max_retries: int = 0,  # noqa: ARG002
    ) -> None:
        """One failed."""
        self._tell("failed", self._deploy.name(state, op_hash)[0])


class _Said(logging.Handler):
    """The last that pyinfra logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=_SHOWN)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines += record.getMessage().splitlines()


def carry_out(job: dict[str, Any], tell: Callable[..., None]) -> dict[str, Any]:
    """The result of a job, or why there is none."""
    said = _Said()
    logging.getLogger("pyinfra").addHandler(said)
    WIRE.batching, WIRE.password = job["batching"], job["sudo_password"]
    try:
        deploy = Deploy(job)
        if job["rehearse"]:
            return {"steps": deploy.rehearse()[1], "commands": WIRE.commands}
        deploy.run(tell)
    except ConnectError as error:
        return {"error": "connect", "said": str(error)}
    except PyinfraError as error:
        return {"error": "run", "said": str(error), "lines": [*said.lines, *WIRE.failed]}
    except Exception as error:  # noqa: BLE001 (users' code)
        frames = traceback.extract_tb(error.__traceback__)
        line = next((f.lineno for f in reversed(frames) if f.filename == job["deploy"]), 0)
        return {"error": "code", "said": f"{type(error).__name__}: {error}", "line": line}
    return {"commands": WIRE.commands}


def main() -> None:
    """Read the job, carry it out, write the result."""
    die_with_parent()
    job = json.load(sys.stdin)
    result: IO[str] = os.fdopen(os.dup(1), "w")
    events: IO[str] = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    folder = os.path.dirname(job["deploy"])  # noqa: PTH120
    os.chdir(folder)
    sys.path.insert(0, folder)
    pyinfra.is_cli = True

    def tell(event: str, name: str) -> None:
        events.write(json.dumps({"event": event, "name": name}) + "\n")

    result.write(json.dumps(carry_out(job, tell), default=str))
    result.flush()
    os._exit(0)  # gevent and paramiko leave threads behind


if __name__ == "__main__":
    patch()
    main()

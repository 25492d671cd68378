"""pyinfra's connection to a host, asking many facts in one command.

pyinfra asks a host for one fact after the other, a command each. With this connector a rehearsal
executes the deploy several times instead: every fact that is not known yet ends the operation that
asked for it and is noted down; all that were noted are asked in one command; again, until nothing
is missing. That is as many round trips as facts depend on each other, whatever their number.

It stands here, and not beside its driver, as it is imported by a process that wants no layer.
"""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pyinfra import context
from pyinfra.api import StringCommand, facts
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

_CONTROL = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes")


class Unknown(BaseException):
    """A fact that has to be asked for first. Passes every ``except Exception``."""


class Wire:
    """The one connection, what it was asked, and what is known from that."""

    def __init__(self, *, batching: bool) -> None:
        self.client: Any = None
        self.batching = batching
        self.asking = 0
        self.rehearsing = True
        self.commands = 0  # executed on the host, each with a channel of its own
        self.known: dict[str, tuple[int, CommandOutput]] = {}
        self.wanted: dict[str, None] = {}
        self.failed: list[str] = []
        self.repeats: set[str] = set()  # operations that say themselves that they always change

    def ask(self) -> None:
        """Ask for everything that is wanted, in one command."""
        mark = secrets.token_hex(12)
        script = "".join(
            f"( {text}\n) </dev/null; r=$?; echo; echo {mark} $r; echo >&2; echo {mark} >&2\n"
            for text in self.wanted
        )
        stdin, stdout, stderr = self.client.exec_command("sh -s")
        self.commands += 1
        stdin.write(script)
        stdin.channel.shutdown_write()
        errors: list[str] = []
        # gevent is not patched in: both are read one after the other, errors being few
        answers = stdout.read().decode(errors="replace").split(f"\n{mark} ")
        errors = stderr.read().decode(errors="replace").split(f"\n{mark}\n")
        self._keep(answers, errors)
        self.wanted.clear()

    def _keep(self, answers: list[str], errors: list[str]) -> None:
        if len(answers) != len(self.wanted) + 1 or len(errors) != len(answers):
            self.batching = False  # this host has another shell: one by one
            return
        body = answers[0]
        for index, text in enumerate(self.wanted):
            status, _, rest = answers[index + 1].partition("\n")
            lines = [OutputLine("stdout", line) for line in body.splitlines()]
            lines += [OutputLine("stderr", line) for line in errors[index].splitlines()]
            self.known[text] = (int(status), CommandOutput(lines))
            body = rest


WIRE = Wire(batching=True)


class Link(SSHConnector):
    """pyinfra's own connector, sharing one connection among all passes, and answering from WIRE."""

    def connect(self) -> None:
        """Connect once."""
        if WIRE.client is None:
            super().connect()
            WIRE.client = self.client
        self.client = WIRE.client

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,  # noqa: FBT001, FBT002 (pyinfra's signature)
        print_input: bool = False,  # noqa: FBT001, FBT002 (same)
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """A fact's command from what is known, if it may be; anything else for real."""
        controls = {key: arguments[key] for key in _CONTROL if arguments.get(key)}
        if WIRE.asking and WIRE.batching and not controls.keys() & {"_get_pty", "_stdin"}:
            rest = {k: v for k, v in arguments.items() if k not in _CONTROL}
            text = make_unix_command_for_host(self.state, self.host, command, **rest)
            raw = text.get_raw_value()
            if raw in WIRE.known:
                status, output = WIRE.known[raw]
                return status in (controls.get("_success_exit_codes") or [0]), output
            if WIRE.rehearsing:
                WIRE.wanted[raw] = None
                raise Unknown
        WIRE.commands += 1
        good, output = super().run_shell_command(command, print_output, print_input, **arguments)
        if not good and not WIRE.asking:
            WIRE.failed = output.output_lines
        return good, output


def patch() -> None:
    """Tell facts from other commands, and let operations end where a fact is not known yet.

    MUST come before any module of operations is imported.
    """
    operation: Any = sys.modules["pyinfra.api.operation"]  # its package has a function of that name
    fact, wrap = facts._get_fact, operation._wrap_operation  # noqa: SLF001 (there is no other way)

    @functools.wraps(fact)
    def asking(*args: Any, **kwargs: Any) -> Any:
        WIRE.asking += 1
        try:
            return fact(*args, **kwargs)
        finally:
            WIRE.asking -= 1

    def patient(function: Callable[..., Iterator[Any]], **more: Any) -> Any:
        @functools.wraps(function)
        def commands(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from function(*args, **kwargs)
            except Unknown:
                return

        made = wrap(commands, **more)

        @functools.wraps(made)
        def called(*args: Any, **kwargs: Any) -> Any:
            meta = made(*args, **kwargs)
            if not function.is_idempotent:  # type: ignore[attr-defined]
                WIRE.repeats.add(meta._hash)  # noqa: SLF001 (same)
            return meta

        called._inner = function  # type: ignore[attr-defined]  # noqa: SLF001 (same)
        return called

    # with one host the order is that of the calls; finding it from the stack costs 50 ms a call
    operation.get_operation_order_from_stack = lambda _: [len(context.host.op_hash_order)]
    facts._get_fact = asking  # noqa: SLF001 (same)
    operation._wrap_operation = patient  # noqa: SLF001 (same)

"""pyinfra's connection to a host, asking many facts in one command.

pyinfra asks a host for one fact after the other, a command each. With this connector a rehearsal
executes the deploy several times instead: every fact that is not known yet ends the operation that
asked for it and is noted down; all that were noted are asked in one command; again, until nothing
is missing. That is as many round trips as facts depend on each other, whatever their number.

It stands here, and not beside its driver, as it is imported by a process that wants no layer.
"""

from __future__ import annotations

import functools
import math
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyinfra import context
from pyinfra.api import StringCommand, facts
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command_for_host

from lab.clients import shell_root

_PIECE = 65536
_TICK = 0.005
# what pyinfra has its own way of doing for, and no fact needs
_OWN_WAY = (
    "_get_pty",
    "_stdin",
    "_sudo_user",
    "_sudo_password",
    "_use_sudo_login",
    "_preserve_sudo_env",
    "_su_user",
    "_doas",
)


class Unknown(BaseException):
    """A fact that has to be asked for first. Passes every ``except Exception``."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line for the host's shell, and whether root runs it."""

    text: str
    as_root: bool


class Wire:
    """The one connection, what it was asked, and what is known from that."""

    def __init__(self) -> None:
        self.client: Any = None
        self.password: str | None = None
        self.batching = True
        self.asking = 0
        self.rehearsing = True
        self.commands = 0  # executed on the host, each with a channel of its own
        self.known: dict[Command, tuple[int, CommandOutput]] = {}
        self.wanted: dict[Command, None] = {}
        self.failed: list[str] = []
        self.repeats: set[str] = set()  # operations that say themselves that they always change

    def run(
        self, script: str, *, as_root: bool, timeout: float | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run a script on the host. It goes by standard input: sudo logs its command line."""
        words = ["sh", "-s"]
        if as_root:
            words = shell_root.command("sh -s", with_password=self.password is not None)
        self.commands += 1
        stdin, stdout, _ = self.client.exec_command(shlex.join(words))
        channel = stdout.channel
        if as_root and self.password is not None:
            self._become(channel, self.password)
        stdin.write(script)
        channel.shutdown_write()
        ends = time.monotonic() + timeout if timeout else math.inf
        pieces: tuple[list[bytes], list[bytes]] = ([], [])
        while True:
            over = channel.exit_status_ready() and channel.eof_received
            if channel.recv_ready():
                pieces[0].append(channel.recv(_PIECE))
            elif channel.recv_stderr_ready():
                pieces[1].append(channel.recv_stderr(_PIECE))
            elif over or channel.closed:
                return channel.recv_exit_status(), b"".join(pieces[0]), b"".join(pieces[1])
            elif time.monotonic() > ends:
                channel.close()
                raise TimeoutError
            else:
                time.sleep(_TICK)

    def _become(self, channel: Any, password: str) -> None:
        """Answer sudo, if it asks; nothing of a script is sent before root's shell is there."""
        said, asked = b"", False
        while shell_root.BECAME.encode() not in said:
            piece = channel.recv_stderr(_PIECE)
            if not piece:
                return  # it refused: the status and what it said tell
            said += piece
            if shell_root.PROMPT.encode() in said and not asked:
                channel.sendall(f"{password}\n".encode())
                asked = True

    def ask(self) -> None:
        """Ask for everything that is wanted, in one command (and one more if not all as root)."""
        for as_root in (True, False):
            commands = [c for c in self.wanted if c.as_root is as_root]
            if commands and self.batching:
                self._ask(commands, as_root=as_root)
        self.wanted.clear()

    def _ask(self, commands: list[Command], *, as_root: bool) -> None:
        mark = secrets.token_hex(12)
        script = "".join(
            f"( {c.text}\n) </dev/null; r=$?; echo; echo {mark} $r; echo >&2; echo {mark} >&2\n"
            for c in commands
        )
        _, out, err = self.run(script, as_root=as_root)
        bodies = out.decode(errors="replace").split(f"\n{mark} ")
        errors = err.decode(errors="replace").split(f"\n{mark}\n")
        if len(bodies) != len(commands) + 1 or len(errors) != len(bodies):
            self.batching = False  # another kind of shell is there: one by one
            return
        body = bodies[0]
        for command, said, following in zip(commands, errors, bodies[1:], strict=False):
            status, _, rest = following.partition("\n")
            self.known[command] = (int(status), _output(body, said))
            body = rest


def _output(out: str, err: str) -> CommandOutput:
    errors = shell_root.without_marks(err.splitlines())
    lines = [OutputLine("stdout", line) for line in out.splitlines()]
    return CommandOutput([*lines, *(OutputLine("stderr", line) for line in errors)])


WIRE = Wire()


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
        if any(arguments.get(key) for key in _OWN_WAY):
            WIRE.commands += 1
            return super().run_shell_command(command, print_output, print_input, **arguments)
        as_root = bool(arguments.pop("_sudo", False))
        timeout = arguments.pop("_timeout", None)
        good = arguments.pop("_success_exit_codes", None) or [0]
        rest = {key: value for key, value in arguments.items() if key not in _OWN_WAY}
        text = make_unix_command_for_host(self.state, self.host, command, **rest).get_raw_value()
        status, output = self._run(Command(text, as_root), timeout)
        if status not in good and not WIRE.asking:
            WIRE.failed = output.output_lines
        return status in good, output

    def _run(self, command: Command, timeout: float | None) -> tuple[int, CommandOutput]:
        if WIRE.asking and WIRE.batching:
            if command in WIRE.known:
                return WIRE.known[command]
            if WIRE.rehearsing:
                WIRE.wanted[command] = None
                raise Unknown
        script = f"( {command.text}\n) </dev/null\n"
        status, out, err = WIRE.run(script, as_root=command.as_root, timeout=timeout)
        return status, _output(out.decode(errors="replace"), err.decode(errors="replace"))


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

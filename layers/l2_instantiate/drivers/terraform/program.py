"""The program itself: which one it is, and one run of it, ended in order where it must end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab import folders
from lab.clients.process import run
from lab.errors import DeadlineExceeded, DriverError, Interrupted, Locked
from lab.masking import mask
from layers.l2_instantiate.drivers.terraform.stream import Stream

PROVIDER = "0.111.1"
"""The version of bpg/proxmox that the configuration is written for."""

_OLDEST = (1, 6)
_GET = (
    "install OpenTofu 1.6 or newer (its package is called tofu; Terraform 1.6 or newer does, too); "
    "with Go on this machine: just peers builds it"
)
_OURS = ("TF_WORKSPACE", "TF_CLI_ARGS", "TF_LOG", "TF_DATA_DIR", "TF_CLI_CONFIG_FILE")
_TICK = 0.2
_GRACE = 30.0  # at the very end, for a provider that does not stop
_LOCK = "state lock"
_HOLDER = re.compile(r"^\s*(Who|Created|Operation|ID):\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A tofu, or a terraform."""

    path: str
    name: str
    version: tuple[int, ...]


def find() -> Program:
    """``tofu`` on the path, else what ``just peers`` built, else ``terraform``.

    Raises DriverError where there is none, or only one that is too old.
    """
    built = folders.cache() / "strata" / "peers" / "tofu"
    old: list[str] = []
    for name in ("tofu", str(built), "terraform"):
        path = shutil.which(name)
        if path is None:
            continue
        program = _ask(path)
        if program.version >= _OLDEST:
            return program
        old.append(f"{path} is {'.'.join(map(str, program.version))}")
    cause = "; ".join(old) or "tofu is not installed"
    raise DriverError(f"Unable to make machines on Proxmox VE: {cause}.", hint=_GET)


def _ask(path: str) -> Program:
    doing = f"ask {path} for its version"
    quiet = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    answer = run([path, "version", "-json"], doing=doing, env=quiet)
    try:
        words = str(json.loads(answer.text)["terraform_version"]).split("-")[0].split(".")
        version = tuple(int(word) for word in words)
    except (ValueError, KeyError, TypeError) as error:
        raise DriverError(
            f"Unable to {doing}: it does not say one.", lines=answer.text.splitlines()[-5:]
        ) from error
    return Program(path, Path(path).name, version)


def built_mirror() -> Path | None:
    """The providers that ``just peers`` built, where it did."""
    folder = folders.cache() / "strata" / "peers" / "providers"
    return folder if folder.is_dir() else None


@dataclass(frozen=True)
class Command:
    """One run of it.

    Attributes:
        words: What follows the program's name.
        doing: For messages: ``"make web1"``.
        folder: Where its configuration lies.
        env: Added to this process's environment; secrets are here and nowhere else.
        accepted: Exit statuses that are no failure.
        held: An open file that it keeps open, too: a lock on it lasts as long as the program.
    """

    words: tuple[str, ...]
    doing: str
    folder: Path
    env: Mapping[str, str]
    deadline: float
    accepted: frozenset[int] = frozenset({0})
    hint: str = ""
    held: int | None = None


def call(
    program: Program,
    command: Command,
    *,
    cancelled: threading.Event,
    tell: Callable[[str], None],
    output: list[str] | None = None,
) -> int:
    """Run it to its end and return its exit status; ``output`` takes what is no progress.

    The user's wish to stop reaches it as one SIGINT: it finishes what it has begun, writes its
    state, and ends. Raises DriverError, Locked, DeadlineExceeded, Interrupted.
    """
    stream = Stream(tell)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    environment |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0"}
    process = subprocess.Popen(
        [program.path, *command.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, **command.env},
        cwd=command.folder,
        pass_fds=() if command.held is None else (command.held,),
        start_new_session=True,  # a Ctrl-C at the terminal is ours to hand on, once
        text=True,
        errors="replace",
    )
    taking = stream.take if output is None else output.append
    with process:
        readers = [_read(process.stdout, taking), _read(process.stderr, stream.take)]
        stopped = _await(process, command, cancelled)
        for reader in readers:
            reader.join(_GRACE)
    if stopped:
        raise Interrupted("Interrupted.", hint="the same command again; it resumes")
    if process.returncode not in command.accepted:
        raise _failure(program, command, process.returncode, stream)
    return process.returncode


def _read(pipe: IO[str] | None, take: Callable[[str], None]) -> threading.Thread:
    assert pipe is not None  # noqa: S101 (opened above)

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            take(line.rstrip("\n"))

    thread = threading.Thread(target=read, args=(pipe,), daemon=True)
    thread.start()
    return thread


def _await(process: subprocess.Popen[str], command: Command, cancelled: threading.Event) -> bool:
    """Wait for its end; True where the user asked for that end."""
    waited, asked = 0.0, False
    while True:
        try:
            process.wait(_TICK)
        except subprocess.TimeoutExpired:
            waited += _TICK
        else:
            return asked and process.returncode != 0
        if cancelled.is_set() and not asked:
            asked = True
            process.send_signal(signal.SIGINT)
        if waited > command.deadline:
            _end(process)
            raise DeadlineExceeded(
                f"Unable to {command.doing}: {' '.join(command.words[:1])} of tofu was not done "
                f"after {command.deadline:.0f} s.",
                hint="the same command again; it looks first what was done",
            )


def _end(process: subprocess.Popen[str]) -> None:
    """It had its time: asked in order first, then ended with all that it started."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            if sign == signal.SIGINT:
                process.send_signal(sign)
            else:
                os.killpg(process.pid, sign)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
        return


def _failure(program: Program, command: Command, status: int, stream: Stream) -> Exception:
    shown = mask(" ".join([program.name, *command.words]))
    why = stream.why or f"{program.name} ended with status {status}"
    if _LOCK in why.lower():
        return _locked(command, stream)
    return DriverError(
        f"Unable to {command.doing}: {why}.",
        hint=command.hint,
        command=shown,
        status=status,
        lines=stream.lines,
    )


def _locked(command: Command, stream: Stream) -> Locked:
    """Somebody else's tofu is at it: who, since when."""
    told = dict(_HOLDER.findall("\n".join(f"{e.summary}\n{e.detail}" for e in stream.errors)))
    who = told.get("Who", "somebody")
    since = f" since {told['Created']}" if "Created" in told else ""
    doing = f" ({told['Operation'].removeprefix('OperationType')})" if "Operation" in told else ""
    unlock = f"tofu force-unlock {told['ID']}" if "ID" in told else "tofu force-unlock"
    return Locked(
        f"Unable to {command.doing}: {who} holds its state{since}{doing}.",
        holder=who,
        hint=f"wait for it, then the same command; if {who} is gone for good: "
        f"cd {command.folder} && {unlock}",
    )

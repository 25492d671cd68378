"""One host's tofu project: a folder with its configuration and its state, planned and applied.

``main.tf.json`` is written anew each time and holds no secret. ``terraform.tfstate`` is tofu's own,
beside it or wherever the provider's ``backend`` says. ``lock`` is held by this process and by every
tofu that it starts, so that one which outlived a killed run is waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.errors import DriverError, Locked
from lab.faults import point
from lab.layer import Workspace
from lab.model.plan import Action
from layers.l2_instantiate.drivers.terraform import planned, program
from layers.l2_instantiate.drivers.terraform.planned import Planned
from layers.l2_instantiate.drivers.terraform.program import Command, Program
from layers.l2_instantiate.home import private_folder
from layers.l2_instantiate.home import replace as write

_CONFIG = "main.tf.json"
_PLAN = "approved.plan"
_CHANGES = 2  # exit status of plan -detailed-exitcode
_PATIENCE = 120.0
_TICK = 0.3
_AT_ONCE = 4
_INIT, _PLANNING, _APPLYING = 600.0, 300.0, 2400.0


class Tool:
    """What all projects of a run share: the program, and how many of it may run at once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.turns = threading.BoundedSemaphore(_AT_ONCE)
        self.installing = threading.Lock()
        self._lock = threading.Lock()

    @property
    def program(self) -> Program:
        """Found at its first use."""
        with self._lock:
            return self._found

    @cached_property
    def _found(self) -> Program:
        return program.find()


@dataclass(frozen=True)
class Project:
    """One host's.

    Attributes:
        folder: Its own; made on first use, mode 0700.
        env: Secrets and trust for the provider.
        mirror: A folder with providers; ``None``: what ``just peers`` built, else the registry.
    """

    tool: Tool
    host: str
    folder: Path
    env: Mapping[str, str]
    mirror: str | None
    tell: Callable[[str], None]
    held: int | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[Project]:
        """Nobody else works on this host's state meanwhile, this machine's orphans included."""
        private_folder(self.folder)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take(descriptor)
            yield replace(self, held=descriptor)
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return
            if time.monotonic() > ends:
                raise Locked(
                    f"Unable to change {self.host}: a tofu of an earlier run is still at it.",
                    holder="a tofu of an earlier run",
                    hint=f"fuser -v {self.folder / 'lock'}   (who it is); then the same command",
                )
            self.tell("waiting for the tofu of an earlier run")
            self.tool.workspace.cancelled.wait(_TICK)
            self.tool.workspace.check()

    def plan(self, document: Mapping[str, Any], doing: str, *, destroy: bool = False) -> Planned:
        """What tofu would do to make it so; kept, to be applied exactly."""
        write(self.folder / _CONFIG, json.dumps(document, indent=1).encode())
        with self.tool.turns:
            self._install(document, doing)
            point("l2.tofu.ready")
            words = ["plan", "-json", "-input=false", "-detailed-exitcode", f"-out={_PLAN}"]
            words += ["-destroy"] if destroy else []
            self._call(Command(
                (*words, "-lock-timeout=20s"), doing, self.folder, self._env, _PLANNING,
                accepted=frozenset({0, _CHANGES}), held=self.held,
            ))  # fmt: skip
            shown: list[str] = []
            show = Command(("show", "-json", _PLAN), doing, self.folder, self._env, _PLANNING)
            self._call(show, shown)
        point("l2.tofu.planned")
        return planned.read(json.loads("\n".join(shown)))

    def apply(self, doing: str) -> None:
        """Carry out the plan that was kept, exactly it; then it is spent."""
        with self.tool.turns:
            self._call(Command(
                ("apply", "-json", "-input=false", "-lock-timeout=20s", _PLAN),
                doing, self.folder, self._env, _APPLYING, held=self.held,
                hint=f"lab plan host={self.host}",
            ))  # fmt: skip
        (self.folder / _PLAN).unlink(missing_ok=True)
        point("l2.tofu.applied")

    def carry_out(
        self, document: Mapping[str, Any], doing: str, allowed: frozenset[Action], number: int
    ) -> bool:
        """Plan and apply, where that does nothing but what is allowed; False: nothing to do.

        Raises DriverError where tofu would do more, or to another machine than ``number``.
        """
        found = self.plan(document, doing, destroy=allowed == {Action.DELETE})
        if found.is_empty:
            return False
        more = [c for c in found.changes if c.action not in allowed]
        if more or found.number not in {None, number}:
            raise _too_much(self.host, doing, found, number)
        self.apply(doing)
        return True

    def forget(self) -> None:
        """Remove the folder of a machine that is gone, its spent state included."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def _data(self) -> Path:
        # The cache is all labs': two of them may have a host of that name, as a twin's has.
        workspace = self.tool.workspace
        return workspace.cache / "tofu" / workspace.lab / self.host

    @cached_property
    def _env(self) -> dict[str, str]:
        return {
            **self.env,
            "TF_DATA_DIR": str(self._data),
            **({"TF_CLI_CONFIG_FILE": str(self._settings)} if self._providers else {}),
            **({} if self._providers else {"TF_PLUGIN_CACHE_DIR": str(self._plugins)}),
        }

    @property
    def _plugins(self) -> Path:
        return self.tool.workspace.cache / "tofu-plugins"

    @property
    def _settings(self) -> Path:
        return self._data / "settings.tfrc"

    @cached_property
    def _providers(self) -> str | None:
        built = program.built_mirror()
        return self.mirror or (str(built) if built else None)

    def _install(self, document: Mapping[str, Any], doing: str) -> None:
        """Let tofu get its provider and its backend, where it has not, or other ones are wanted."""
        wanted = json.dumps([document.get("terraform"), self._providers, self.tool.program.path])
        mark, stamp = hashlib.sha256(wanted.encode()).hexdigest(), self._data / "installed"
        if stamp.is_file() and stamp.read_text(encoding="ascii") == mark:
            return
        private_folder(self._data)
        self._plugins.mkdir(parents=True, exist_ok=True)
        if self._providers:
            mirror = json.dumps(self._providers)
            text = (
                f"provider_installation {{\n  filesystem_mirror {{\n    path = {mirror}\n  }}\n}}\n"
            )
            write(self._settings, text.encode())
        trusted = {k: v for k, v in self._env.items() if k != "SSL_CERT_FILE"}  # the registry's own
        words = ("init", "-json", "-input=false", "-reconfigure")
        self.tell("tofu: getting its provider")
        with self.tool.installing:  # its cache of providers is for one at a time
            self._call(Command(
                words, doing, self.folder, trusted, _INIT, held=self.held,
                hint="mirror: of the provider in lab.yaml, where there is no registry "
                "(just peers builds one)",
            ))  # fmt: skip
        write(stamp, mark.encode())

    def _call(self, command: Command, output: list[str] | None = None) -> None:
        tool = self.tool
        cancelled = tool.workspace.cancelled
        program.call(tool.program, command, cancelled=cancelled, tell=self.tell, output=output)


def _too_much(host: str, doing: str, found: Planned, number: int) -> DriverError:
    """Tofu wants something that nobody approved: nothing of it is done."""
    if found.number not in {None, number}:
        cause = f"tofu's state is about VM {found.number}, and the machine is VM {number}"
    else:
        said = [
            f"{c.action} {c.what}" + (f" ({c.reason})" if c.reason else "") for c in found.changes
        ]
        cause = f"tofu would {'; '.join(said)}"
    lines = [f"{f.field}: {f.before} -> {f.after}" for c in found.changes for f in c.fields]
    return DriverError(
        f"Unable to {doing}: {cause}. Nothing was done.",
        hint=f"lab plan host={host}; a machine that must be made anew: lab rebuild host={host}",
        lines=lines[:20],
    )

"""The entry point: the table of commands, and the one place where failures become exit codes."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Commands, Lazy
from lab.cli.options import Settings, common

if TYPE_CHECKING:
    from lab.cli import failures, shells
else:
    failures = Lazy("lab.cli.failures")
    shells = Lazy("lab.cli.shells")

TABLE = {
    "validate": ("lab.cli.checks:validate", "Check the lab's files; touch nothing else."),
    "plan": ("lab.cli.runs:plan", "Show what would change; change nothing."),
    "converge": ("lab.cli.runs:converge", "Bring hosts to what is declared."),
    "verify": ("lab.cli.runs:verify", "Look whether everything is as declared."),
    "entropy": ("lab.cli.discovering:entropy", "Tell what is on hosts and in no file here."),
    "adopt": ("lab.cli.discovering:adopt", "Write a machine that is there down as files."),
    "approve": ("lab.cli.gitwords:approve", "Apply the plan of a commit that waits for it."),
    "wait": ("lab.cli.gitwords:wait", "Wait for what becomes of a pushed commit."),
    "try": ("lab.cli.gitwords:trial", "Run a branch on one host for a while."),
    "status": ("lab.cli.queries:status", "Show how every host stood at its last run."),
    "metrics": ("lab.cli.overview:metrics", "Print how every host stands, for Prometheus."),
    "graph": ("lab.cli.overview:graph", "Draw the lab: hosts, what they are for, run and keep."),
    "show": (
        "lab.cli.queries:show",
        "Show a host's values and where each comes from, or a past run.",
    ),
    "history": ("lab.cli.queries:history", "List the last runs: who, when, what came of it."),
    "diff": ("lab.cli.queries:diff", "Compare two runs: hosts, outcomes, changes, times, commits."),
    "ssh": ("lab.cli.queries:ssh", "Log in to a host, its key already known."),
    "destroy": ("lab.cli.runs:destroy", "Remove hosts; durable data only when asked to."),
    "capture": ("lab.cli.captures:capture", "Capture what must not be lost."),
    "captures": ("lab.cli.captures:captures", "List, check, verify and drop captures."),
    "restore": ("lab.cli.recovery:restore", "Put captured data back."),
    "rebuild": ("lab.cli.recovery:rebuild", "Replace machines without losing a byte."),
    "drill": ("lab.cli.recovery:drill", "Prove that hosts come back from their captures."),
    "image": ("lab.cli.images:image", "Templates: which there are, who is behind, promote, prune."),
    "schedule": (
        "lab.cli.captures:schedule",
        "Capture, verify and drill by systemd timers, as the personas say.",
    ),
    "secrets": ("lab.cli.secrets:secrets", "Keep passwords and keys encrypted in git."),
    "doctor": ("lab.cli.checks:doctor", "Check this machine, and say what mends it."),
    "schema": (
        "lab.cli.checks:schema",
        "Print the JSON Schemas of the lab's files, and of runs' events.",
    ),
    "explain": (
        "lab.cli.queries:explain",
        "Explain a layer, a key, an exit code, or a host's value.",
    ),
    "completion": ("lab.cli.setup:completion", "Print the completion script of a shell."),
    "init": ("lab.cli.beginnings:init", "Begin a new lab in a folder."),
    "import": ("lab.cli.beginnings:import_", "Take hosts over from Ansible or Terraform."),
    "bootstrap": ("lab.cli.beginnings:bootstrap", "Get a lab back on a new machine."),
    "seed": ("lab.cli.beginnings:seed", "Tell what must survive the loss of this machine."),
    "gitops": ("lab.cli.gitwords:gitops", "Follow git: a push converges what it touches."),
    "autostart": ("lab.cli.setup:autostart", "Start the lab's machines when this machine boots."),
}

EXAMPLES = """\b
Start here:
  lab validate                  are the files right?
  lab plan                      what would happen?
  lab converge                  make it so (asks first)
  lab status                    how does everything stand?

\b
One host, one layer:
  lab plan host=web1
  lab converge l3 tag=web       only the system layer of the hosts tagged web
  lab explain l3

Every command tells more with --help; docs/cli.md is the whole reference."""


@click.group(
    cls=Commands,
    table=TABLE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Bring every machine of a home lab to what its files declare.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)
@click.version_option(package_name="strata-lab", prog_name="lab", message="%(prog)s %(version)s")
@common
def cli() -> None:
    """The group itself does nothing; its flags land in the settings."""


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Every failure has been told by then."""
    settings = Settings()
    gc.set_threshold(50_000, 20, 20)  # what loading makes stays: looking for garbage in it is idle
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # none is looked for in packages
    harden_streams()
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_ended
    if "_LAB_COMPLETE" in os.environ:
        shells.register()
    try:
        code = cli.main(
            args=None if args is None else list(args),
            prog_name="lab",
            standalone_mode=False,
            obj=settings,
        )
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        return 0
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message())
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (this is the one place)
        with contextlib.suppress(BrokenPipeError):
            return failures.tell(error, settings)
        return 1
    return code if isinstance(code, int) else 0


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """What ends a thread that nobody waits for goes to a log, not raw to the terminal."""
    failures.thread_ended(args)


def harden_streams() -> None:
    """Let no character of user or remote text stop a message from being printed."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """The reader of stdout has gone (``| head``): write the rest nowhere, without complaint."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def main() -> None:
    """``lab``, as installed."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
    gc.freeze()  # a process that ends need not look through what it holds, three times over
    sys.exit(code)


if __name__ == "__main__":
    main()

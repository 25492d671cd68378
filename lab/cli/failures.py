"""Every failure as text on stderr and an exit code: the one place that decides both."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import click
from rich.text import Text

from lab import folders
from lab.cli import names
from lab.cli.options import Settings
from lab.cli.progress import write_json
from lab.cli.terminal import Screen
from lab.cli.text.look import Look, clean_lines, fit, line, plural, prose
from lab.cli.words import nearest
from lab.errors import (
    ConfigError,
    DriverError,
    Interrupted,
    LabError,
    Locked,
    NotConverged,
    PlanError,
    Problem,
    TransportError,
)
from lab.masking import mask
from lab.model.outcome import ExitCode

EXCERPTS = 50
"""Problems that are shown with the line of the file; further ones with their place only."""

_CODES: tuple[tuple[type[LabError], ExitCode], ...] = (
    (ConfigError, ExitCode.CONFIG),
    (Locked, ExitCode.LOCKED),
    (PlanError, ExitCode.REFUSED),
    (TransportError, ExitCode.UNREACHABLE),
    (Interrupted, ExitCode.INTERRUPTED),
)


def exit_code(error: BaseException) -> ExitCode:
    """The code for an error that ended the command."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return ExitCode.INTERRUPTED
    if isinstance(error, click.UsageError):
        return ExitCode.CONFIG
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def tell(error: BaseException, settings: Settings) -> int:
    """Say what went wrong, on stderr; with ``--json`` also as a last line on stdout."""
    screen = Screen(settings)
    code = exit_code(error)
    if settings.json:
        write_json(screen, document(error, code))
    match error:
        case KeyboardInterrupt() | click.Abort():
            screen.say(line("Interrupted."))
        case click.ClickException():
            screen.say(*_usage(error, screen.err_look))
        case ConfigError():
            screen.say(*problem_lines(error, names.root_of(settings.root), screen.err_look))
        case LabError():
            screen.say(*error_lines(error, screen.err_look))
        case _:
            _bug(error, screen)
    return int(code)


def document(error: BaseException, code: ExitCode) -> dict[str, object]:
    """The error as JSON (``lab.error/1``)."""
    body: dict[str, object] = {
        "schema": "lab.error/1",
        "kind": type(error).__name__,
        "exit_code": int(code),
        "message": error.message if isinstance(error, (LabError, click.ClickException)) else "",
        "hint": error.hint if isinstance(error, LabError) else "",
    }
    if isinstance(error, ConfigError):
        body["problems"] = [{"where": p.where, "what": p.what} for p in error.problems]
    return body


def error_lines(error: LabError, look: Look) -> list[Text]:
    """Message, what was run, what it said, and what to do next."""
    lines = prose(error.message, look, 2, "red", first=look.signs.bad)
    if isinstance(error, DriverError):
        if error.command:
            lines.append(line("  ", ("$ ", "dim"), error.command))
        if error.status is not None:
            lines.append(line("  ", (f"exit status {error.status}", "dim")))
        lines += [line("  ", (f"{look.signs.edge} ", "dim"), text) for text in error.lines]
    if isinstance(error, NotConverged):
        lines += [line("    ", text) for text in error.remaining]
    if error.hint:
        lines.append(line(("Try: ", "cyan"), error.hint))
    return lines


def problem_lines(error: ConfigError, root: Path | None, look: Look) -> list[Text]:
    """Every problem with its place, the line that it stands in and a caret below the column."""
    lines: list[Text] = []
    for number, problem in enumerate(error.problems):
        where = (f"{problem.where}: ", "bold") if problem.where else (f"{look.signs.bad} ", "red")
        first, *rest = clean_lines(problem.what)
        lines.append(line(where, (first, "red")))
        lines += [line("    ", text) for text in rest]
        if number < EXCERPTS:
            lines += _excerpt(problem, root, look)
    if not any(problem.where for problem in error.problems):
        return lines  # a wrong word of the command, which has no line to mend
    lines += [Text(), line((f"{plural(len(error.problems), 'problem')}. ", "bold"),
                           ("Try: ", "cyan"), error.hint)]  # fmt: skip
    return lines


def _excerpt(problem: Problem, root: Path | None, look: Look) -> list[Text]:
    """The line of the file and the caret; nothing where the place cannot be read."""
    path, _, rest = problem.where.partition(":")
    row_text, _, column_text = rest.partition(":")
    if root is None or not row_text.isdigit():
        return []
    try:
        source = (root / path).read_text(errors="replace").splitlines()[int(row_text) - 1]
    except (OSError, IndexError, ValueError):
        return []
    column = int(column_text) if column_text.isdigit() else 1
    before = clean_lines(source[: column - 1])[0] if column > 1 else ""
    shown = clean_lines(source)[0]
    room = look.width - 10
    if len(before) > room - 10:
        cut = len(before) - room // 2
        shown, before = look.signs.more + shown[cut:], look.signs.more + before[cut:]
    gutter = f"{row_text:>5} "
    return [
        line((f"{gutter}{look.signs.edge} ", "dim"), fit(shown, room, look.signs.more)),
        line(
            (f"{'':>{len(gutter)}}{look.signs.edge} ", "dim"), " " * len(before), ("^", "bold red")
        ),
    ]


def _usage(error: click.ClickException, look: Look) -> list[Text]:
    """A wrong command line: what is wrong with it, the nearest right word, where help is."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        known = [o for p in error.ctx.command.params for o in p.opts] if error.ctx else []
        message = f"there is no option {error.option_name!r}{nearest(error.option_name, known)}"
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Argument):
        message = error.message  # the word itself says what was meant; its place says nothing
    lines = prose(message, look, 2, "red", first=look.signs.bad)
    context = getattr(error, "ctx", None)
    if context is not None:
        lines.append(line(("Try: ", "cyan"), f"{context.command_path} --help"))
    return lines


def _bug(error: BaseException, screen: Screen) -> None:
    """Our mistake, not the user's: apologise, keep the traceback for a report."""
    text = mask("".join(traceback.format_exception(error)))
    screen.say(
        *prose(
            f"Sorry: that is a mistake in Strata, not in your files ({type(error).__name__}).",
            screen.err_look, 2, "red", first=screen.err_look.signs.bad,
        )
    )  # fmt: skip
    try:
        path = write_log(text)
    except OSError as refused:
        screen.say(line(f"The traceback could not be written: {refused}."))
        path = None
    if path is not None:
        screen.say(line("The traceback is in ", (str(path), "bold")))
    if screen.settings.verbose or os.environ.get("STRATA_DEBUG") or path is None:
        screen.say(*(line(part) for part in text.splitlines()))
    else:
        screen.say(line(("Try: ", "cyan"), "the same command again; what was finished is recorded"))


def thread_ended(args: threading.ExceptHookArgs) -> None:
    """For ``threading.excepthook``: what nobody waits for any more is kept, not printed."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        with contextlib.suppress(OSError):
            write_log("".join(traceback.format_exception(args.exc_value)))


def write_log(text: str) -> Path:
    """Keep a traceback below the state folder, secrets masked, for the owner only; say where."""
    folder = folders.state() / "strata" / "bugs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = folder / f"{stamp}-{os.getpid()}.log"
    head = f"{' '.join(sys.argv[:2])}\nPython {sys.version}\n\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(mask(head + text))
    return path

"""What happens to a pushed commit, in lines for whoever pushed it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from lab.cli.failures import error_lines, problem_lines
from lab.cli.text.groups import hosts_of
from lab.cli.text.look import Look, line, plural, prose
from lab.cli.text.plain import Plain
from lab.cli.text.plans import plan_lines
from lab.cli.text.reports import report_lines
from lab.errors import ConfigError, LabError
from lab.gitops.steps import Begun, Converged, Ended, Looked, Planned, Refused, Step
from lab.gitops.store import Request, State

_STYLE = {
    State.APPLIED: "bold green",
    State.UNCHANGED: "bold green",
    State.PLANNED: "bold",
    State.WAITING: "bold yellow",
    State.FAILED: "bold red",
    State.REFUSED: "bold red",
}


class Pushes:
    """Turns steps into lines, in the order they happen."""

    def __init__(self, look: Look, titles: dict[str, str]) -> None:
        self._look = look
        self._titles = titles
        self._plain = Plain(look.signs)

    def lines(self, step: Step) -> Iterator[Text]:
        """The lines that one step is worth."""
        look = self._look
        match step:
            case Begun():
                about = f"{step.about.subject} ({step.about.author})"
                yield from prose(f"{step.request.commit[:12]} {about}", look, 0, "bold")
            case Refused():
                yield from refusal(step.error, step.root, look)
            case Looked():
                yield from touched_lines(step, look)
            case Planned():
                yield line()
                yield from plan_lines(step.report, look, self._titles)
                yield line()
            case Converged():
                yield from report_lines(step.report, look, self._titles)
            case Ended():
                yield from end_lines(step, look)
            case _:
                yield from (line(text) for text in self._plain.lines(step))


def refusal(error: LabError, root: Path | None, look: Look) -> Iterator[Text]:
    """Why a commit is not used: every mistake in it, or the one reason."""
    if isinstance(error, ConfigError):
        count = plural(len(error.problems), "mistake")
        yield line((f"Refused: {count} in the lab's files. Nothing was changed.", "bold red"))
        yield from problem_lines(error, root, look)
    else:
        yield from error_lines(error, look)


def touched_lines(step: Looked, look: Look) -> Iterator[Text]:
    """Which hosts a commit touches, and what is left alone."""
    found = step.touched
    rest = f"; {plural(found.same, 'other')} as before" if found.same else ""
    if found.hosts:
        yield from prose(f"Touches {hosts_of(found.hosts, look)}{rest}.", look, 0)
    else:
        yield line(f"Touches no host{rest}.")
    for host in found.removed:
        yield from prose(
            f"{host} is no longer declared; nothing of it was deleted.", look, 2, first="!"
        )
        if host in step.orphans:
            yield line("  ", ("Try: ", "cyan"), f"lab destroy host={host}")
    for trial in step.trials:
        until = datetime.fromtimestamp(trial.until, UTC).astimezone().strftime("%H:%M")
        text = f"{trial.host} is left alone: it tries {trial.branch} until {until}."
        yield from prose(text, look, 2, first="!")
        yield line("  ", ("Try: ", "cyan"), f"lab try --keep host={trial.host}")


def end_lines(step: Ended, look: Look) -> Iterator[Text]:
    """The last word, and the next command where there is one."""
    word = "interrupted" if step.state is State.RUNNING else step.state.value
    style = _STYLE.get(step.state, "bold yellow")
    said = f": {step.said.rstrip('.')}." if step.said else "."
    yield from prose(f"{word.capitalize()}{said}", look, 0, style)
    hint = ""
    if step.state is State.WAITING:
        hint = f"lab approve {step.request.id}"
    elif step.state is State.PLANNED:
        hint = "lab converge, in a checkout of this commit"
    elif step.state in {State.FAILED, State.RUNNING}:
        hint = "lab gitops run   (resumes; so does the next push)"
    if hint:
        yield line(("Try: ", "cyan"), hint)


def request_lines(requests: list[Request], look: Look) -> Iterator[Text]:
    """The newest commits and what came of each."""
    for request in requests:
        at = datetime.fromtimestamp(request.at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        head = f"{request.id:>4}  {at}  {request.commit[:12]}  "
        style = _STYLE.get(request.state, "")
        yield line(head, (f"{request.state:<10}", style), f"  {request.by}")
        if request.said:
            yield from prose(request.said, look, 6, "dim", first="     ")

"""``lab gitops install``: settings kept, hooks or a service written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.api.secrets import LabSecrets
from lab.cli.autostarting import exec_word, install_unit, systemctl, unit_folder
from lab.cli.options import Settings
from lab.cli.session import opened
from lab.cli.terminal import Screen
from lab.cli.text.look import line
from lab.errors import ConfigError, LabError, Problem
from lab.gitops import hooks
from lab.gitops.follower import folder_of
from lab.gitops.settings import Settings as Kept
from lab.gitops.settings import plain_words
from lab.model.outcome import ExitCode

_PLAIN = ("branch", "mode", "every", "webhook", "webhook_secret", "notify", "colored")
_UNIT = """\
# Written by `lab gitops install`. Looks for new commits of the lab {lab}, and converges them.
[Unit]
Description=Strata: the lab {lab} follows git
{after}
[Service]
{environment}# A run that was asked to stop ends its step; the next start resumes it.
KillMode=mixed
TimeoutStopSec=10min
Restart=on-failure
RestartSec=30
ExecStart={python} -P -m lab.cli gitops serve --color never --name {lab}

[Install]
WantedBy={target}
"""


def install(settings: Settings, answers: dict[str, Any]) -> int:
    """Answers that are left out stay as they were."""
    with opened(settings) as session:
        lab, screen = session.lab.name, session.screen
        folder = folder_of(lab)
        kept = _settings(folder, lab, answers)
        _check_secrets(kept, session.lab.secrets)
    kept.write(folder)
    if kept.url is not None:
        _service(screen, lab)
        return ExitCode.OK
    for path in hooks.install(Path(kept.repository), kept.branch, lab):
        screen.show([line(f"Wrote {path}")])
    if not settings.quiet:
        screen.say(line(("Try: ", "cyan"), f"git push {kept.repository} {kept.branch}"))
    return ExitCode.OK


def _check_secrets(kept: Kept, known: LabSecrets) -> None:
    problems = [
        Problem("", f"there is no secret {name!r} in this lab yet; try: lab secrets set {name}")
        for name in kept.secrets
        if not known.has(name)
    ]
    if problems:
        raise ConfigError(problems)


def _settings(folder: Path, lab: str, answers: dict[str, Any]) -> Kept:
    document: dict[str, Any] = {}
    try:
        document = Kept.read(folder, lab).model_dump(mode="json", exclude_defaults=True)
    except LabError:
        if not answers["repository"] and not answers["poll"]:
            what = "say what to follow: --repository DIR or --poll URL"
            raise ConfigError([Problem("", what)]) from None
    if answers["repository"] and answers["poll"]:
        raise ConfigError([Problem("", "--repository and --poll contradict each other")])
    document |= {key: answers[key] for key in _PLAIN if answers[key]}
    if answers["repository"]:
        document |= {"repository": str(Path(answers["repository"]).resolve()), "url": None}
    if answers["poll"]:
        document |= {"repository": str(folder / "clone.git"), "url": answers["poll"]}
    if answers["signers"]:
        document["signers"] = str(Path(answers["signers"]).absolute())
    if answers["forge"]:
        document["forge"] = {
            "kind": answers["forge"],
            "url": answers["forge_url"],
            "repository": answers["forge_repository"],
            "token": answers["forge_token"],
        }
    try:
        return Kept.model_validate(document)
    except ValidationError as error:
        raise ConfigError([Problem("", text) for text in plain_words(error)]) from error


def _service(screen: Screen, lab: str) -> None:
    system = os.geteuid() == 0
    path = unit_folder(system=system) / f"strata-{lab}-gitops.service"
    try:
        install_unit(screen, path, unit_text(lab, system=system), system=system)
        systemctl("restart", "--no-block", path.name, system=system)  # a run ends its step first
    except LabError as error:
        raise LabError(
            error.message, hint=f"lab gitops serve --name {lab}, started by other means"
        ) from error


def _variable(name: str, value: str) -> str:
    """One assignment, in the quoting of ``Environment=``."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{name}={escaped}"'


def environment_lines(*more: str) -> str:
    """Where this user keeps things, for a unit that is to find the same."""
    names = [f"XDG_{n}" for n in ("STATE_HOME", "CACHE_HOME", "DATA_HOME", "CONFIG_HOME")]
    names += ["XDG_RUNTIME_DIR", "SOPS_AGE_KEY_FILE", *more]
    said = {name: os.environ.get(name, "") for name in names}
    lines = [f"Environment={_variable(n, v)}\n" for n, v in said.items() if v.startswith("/")]
    return "".join(lines)


def unit_text(lab: str, *, system: bool) -> str:
    """The unit of the service that polls."""
    return _UNIT.format(
        lab=lab,
        after="After=network-online.target\nWants=network-online.target\n" if system else "",
        environment=environment_lines(*(["HOME"] if system else [])),  # git's settings
        python=exec_word(sys.executable),
        target="multi-user.target" if system else "default.target",
    )

"""Tell others how a commit stands: its status at the forge, and a message to a phone.

Nobody is waited for long, and nothing that goes wrong here stops a run.
"""

from __future__ import annotations

import importlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from lab.errors import LabError
from lab.gitops.places import is_place, reveal
from lab.gitops.settings import Forge, Settings
from lab.gitops.store import Request, State
from lab.masking import mask

DEADLINE = 10.0
_DESCRIPTION = 140
_TOLD = {State.WAITING, State.PLANNED, State.APPLIED, State.FAILED, State.REFUSED}
_GITLAB = {"failure": "failed", "error": "failed"}


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A token is for the address that was written down, not for where that one points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never."""


class Notices:
    """Where one lab's news go. The generators give a sentence for each thing that went wrong."""

    def __init__(
        self, settings: Settings, lab: str, revealed: Callable[[str], str] = reveal
    ) -> None:
        self._settings = settings
        self._lab = lab
        self._revealed = revealed

    def begun(self, request: Request) -> Iterator[str]:
        """Work on a commit begins."""
        yield from self._status(request.commit, "pending", "looking at what it touches")

    def ended(self, request: Request, state: State, said: str) -> Iterator[str]:
        """It ended, or waits for somebody."""
        yield from self._status(request.commit, forge_state(state), said)
        if state not in _TOLD:
            return
        said = mask(said)
        hint = f"\nlab approve {request.id}" if state is State.WAITING else ""
        title = f"{self._lab}: {state.value}"
        for url in self._settings.notify:
            try:
                address = self._revealed(url) if is_place(url) else url
                notify(address, title, f"{request.commit[:12]}: {said}{hint}")
            except LabError as error:
                yield mask(error.message)

    def superseded(self, request: Request) -> Iterator[str]:
        """A newer commit came before this one was dealt with, or approved."""
        yield from self._status(request.commit, forge_state(request.state), request.said)

    def _status(self, commit: str, state: str, said: str) -> Iterator[str]:
        forge = self._settings.forge
        if forge is None:
            return
        try:
            token = self._revealed(forge.token)
            name = f"strata/{self._lab}"
            send(status_request(forge, token, commit, Status(state, name, mask(said))))
        except LabError as error:
            yield mask(f"The status of {commit[:12]} was not posted. {error.message}")


def forge_state(state: State) -> str:
    """Our word in the forges' words."""
    good = {State.APPLIED, State.UNCHANGED, State.PLANNED, State.SUPERSEDED}
    if state in good:
        return "success"
    return "failure" if state in {State.FAILED, State.REFUSED} else "pending"


@dataclass(frozen=True, slots=True)
class Status:
    """A state in the forges' words, whose it is, and why."""

    state: str
    context: str
    said: str


def status_request(forge: Forge, token: str, commit: str, status: Status) -> urllib.request.Request:
    """What is posted to set a commit's status."""
    said = status.said
    said = said if len(said) <= _DESCRIPTION else f"{said[: _DESCRIPTION - 1]}…"
    if forge.kind == "gitlab":
        project = quote(forge.repository, safe="")
        url = f"{forge.url}/api/v4/projects/{project}/statuses/{commit}"
        state = _GITLAB.get(status.state, status.state)
        return _post(
            url,
            {"state": state, "name": status.context, "description": said},
            {"PRIVATE-TOKEN": token},
        )
    body = {"state": status.state, "context": status.context, "description": said}
    base = forge.url if forge.kind == "github" else f"{forge.url}/api/v1"
    login = f"Bearer {token}" if forge.kind == "github" else f"token {token}"
    url = f"{base}/repos/{forge.repository}/statuses/{commit}"
    return _post(url, body, {"Authorization": login})


def notify(url: str, title: str, text: str) -> None:
    """Send a message: ``ntfy://`` and ``ntfys://`` ourselves, every other kind through Apprise.

    Raises LabError.
    """
    parts = urlsplit(url)
    if parts.scheme in {"ntfy", "ntfys"} and parts.hostname and parts.path.strip("/"):
        scheme = "https" if parts.scheme == "ntfys" else "http"
        host = parts.netloc.rpartition("@")[2]
        headers = {"Authorization": f"Bearer {parts.username}"} if parts.username else {}
        body = {"topic": parts.path.strip("/"), "title": title, "message": text}
        send(_post(f"{scheme}://{host}/", body, headers))
        return
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise LabError(
            f"Unable to notify through {parts.scheme}://: Apprise is not installed.",
            hint="pip install 'strata-lab[notify]'",
        ) from None
    service = apprise.Apprise()
    if not service.add(url) or not service.notify(title=title, body=text):
        raise LabError(f"Unable to notify through {parts.scheme}://: it was not taken.")


def send(request: urllib.request.Request) -> None:
    """Post it. Raises LabError; never follows a redirect, so that no token travels on."""
    where = f"{request.type}://{request.host}"
    opener = urllib.request.build_opener(_StayHere)
    try:
        with opener.open(request, timeout=DEADLINE):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise LabError(f"Unable to post to {where}: it answered {error.code}.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise LabError(f"Unable to post to {where}: {reason}.") from error


def _post(url: str, body: object, headers: Mapping[str, str]) -> urllib.request.Request:
    every = {"Content-Type": "application/json", "User-Agent": "strata", **headers}
    data = json.dumps(body).encode()
    return urllib.request.Request(url, data, every, method="POST")  # noqa: S310 (http or https)

"""A cloud image: fetched, resumed, and believed only when its checksum is right."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from lab.errors import DriverError
from lab.layer import Report, Workspace
from layers.l1_image import diskfile
from layers.l1_image.base import Base
from layers.l1_image.spec import Spec

_PIECE = 1 << 20
_TIMEOUT = 30.0
_PARTIAL = 206
_UNSATISFIABLE = 416


def make(spec: Spec, folder: Path, workspace: Workspace, report: Report) -> Path:
    """Write ``folder/disk.qcow2`` from the image that the base names.

    Raises DriverError where it cannot be had, is cut short, or is not what the checksum says.
    """
    base = spec.image.base
    parts = urlsplit(base.url)
    if parts.scheme in {"", "file"}:
        source = Path(unquote(parts.path))
        _verify(source, base, workspace, report)
        return _convert(source, spec, folder, workspace)
    cache = workspace.cache / "images"
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f"{base.checksum.split(':')[1]}.part"
    with partial.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _download(base, partial, workspace, report)
        disk = _convert(partial, spec, folder, workspace)
        partial.unlink()
    return disk


def _download(base: Base, partial: Path, workspace: Workspace, report: Report) -> None:
    """Have it whole and as the checksum says; what was resumed and is wrong is fetched anew."""
    resumed = _fetch(base, partial, workspace, report)
    try:
        _verify(partial, base, workspace, report)
    except DriverError:
        partial.unlink(missing_ok=True)  # what is wrong is not resumed
        if not resumed:
            raise
        report("what was there before does not belong to it: download it anew")
        _download(base, partial, workspace, report)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address, but never out of https or to what is no web address."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme, before = urlsplit(newurl).scheme, urlsplit(req.full_url).scheme
        if scheme not in {"http", "https"} or (before, scheme) == ("https", "http"):
            fp.close()
            raise DriverError(
                f"Unable to download {req.full_url}: the server sends us on to {newurl}, "
                f"and that is not as safe.",
                hint="name the address where it really is at image.base.url",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(base: Base, partial: Path, workspace: Workspace, report: Report) -> bool:
    """Download what is not there yet; whether something was there already."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "strata", "Accept-Encoding": "identity"}
    request = urllib.request.Request(base.url, headers=headers)  # noqa: S310 (checked)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=_TIMEOUT) as answer:
            if answer.status != _PARTIAL or _continues(answer, have):
                return _store(answer, partial, have, workspace, report)
        partial.unlink(missing_ok=True)  # another piece than was asked for
        return have > 0 and _fetch(base, partial, workspace, report)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _UNSATISFIABLE and have:
            return True  # nothing comes after what we have: the checksum tells whether it is whole
        raise DriverError(
            f"Unable to download {base.url}: the server says {error.code} {_first(error.reason)}.",
            hint="mend image.base.url in the persona",
        ) from error
    except http.client.IncompleteRead as error:
        raise _cut(base, partial) from error
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise DriverError(
            f"Unable to download {base.url}: {cause}.", hint="the same command again; it resumes"
        ) from error


def _continues(answer: http.client.HTTPResponse, have: int) -> bool:
    """Whether the piece that comes begins where what is there ends."""
    return have > 0 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _first(reason: object) -> str:
    """One line of what may be several."""
    return next(iter(str(reason).splitlines()), "")


def _store(
    answer: http.client.HTTPResponse,
    partial: Path,
    have: int,
    workspace: Workspace,
    report: Report,
) -> bool:
    """Write what comes; whether it was added to what was there."""
    resumed = answer.status == _PARTIAL
    done = have if resumed else 0
    length = answer.headers.get("Content-Length")
    total = done + int(length) if length and length.isdigit() else None
    with partial.open("ab" if resumed else "wb") as file:
        while piece := answer.read(_PIECE):
            workspace.check()
            file.write(piece)
            done += len(piece)
            report("download the cloud image", done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
    return resumed


def _cut(base: Base, partial: Path) -> DriverError:
    size = partial.stat().st_size if partial.exists() else 0
    return DriverError(
        f"Unable to download {base.url}: the connection ended early, after {size} bytes.",
        hint="the same command again; it resumes",
    )


def _verify(path: Path, base: Base, workspace: Workspace, report: Report) -> None:
    algorithm, wanted = base.checksum.split(":")
    digest = hashlib.new(algorithm)
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                workspace.check()
                digest.update(piece)
                report("check the cloud image", file.tell(), total)
    except OSError as error:
        raise DriverError(
            f"Unable to read {path}: {error.strerror}.", hint="mend image.base.url in the persona"
        ) from error
    if digest.hexdigest() != wanted:
        raise DriverError(
            f"Unable to use {base.url}: its checksum is {algorithm}:{digest.hexdigest()}, "
            f"and the persona says {base.checksum}.",
            hint="take the checksum from the image's publisher, and mend image.base.checksum",
        )


def _convert(source: Path, spec: Spec, folder: Path, workspace: Workspace) -> Path:
    """To qcow2, refusing what refers to other files or holds no disk."""
    kind = diskfile.examined(source, spec.image.base.url)
    disk = folder / "disk.qcow2"
    diskfile.convert(source, kind, disk, "qcow2", workspace)
    return disk

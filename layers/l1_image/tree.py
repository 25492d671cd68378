"""The tree: mmdebstrap fills it, our recipe finishes it, in namespaces that end with the build."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.clients.process import run
from lab.errors import DriverError
from lab.layer import Report, Workspace
from layers.l1_image import sources
from layers.l1_image.base import SUITES
from layers.l1_image.recipe import Recipe
from layers.l1_image.spec import Image, Spec

_COUNT = re.compile(r"^\d+ upgraded, (\d+) newly installed")
_LOCAL_CA = "/usr/local/share/ca-certificates"


@functools.cache
def namespaces() -> tuple[str, ...]:
    """What to put before a command so that it is root over its own mounts and processes.

    They all end with the thread that started them, whatever becomes of it. Without the right to
    make namespaces, root goes without; others cannot build.
    """
    apart: tuple[str, ...] = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    if os.geteuid() != 0:
        apart = (*apart, "--map-root-user", "--map-auto")
    prefix = ("setpriv", "--pdeathsig", "KILL", *apart, "--")
    try:
        tried = subprocess.run((*prefix, "true"), capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if tried.returncode == 0 else ()


def make(
    spec: Spec, recipe: Recipe, folder: Path, workspace: Workspace, report: Report, log: Path
) -> None:
    """Fill ``folder/tree``, and leave ``units.txt`` and ``size.txt`` beside it.

    Raises DriverError in the user's words: what apt or mmdebstrap said is in its ``lines``.
    """
    if os.geteuid() != 0 and not namespaces():
        raise DriverError(
            f"Unable to build the template {spec.name}: user namespaces with subordinate ids are "
            "not available to you.",
            hint="sudo apt-get install uidmap && sudo usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 $USER   (or build as root)",
        )
    apt = sources.read()
    _write_overlay(spec, recipe, folder / "overlay", apt)
    progress = _Progress(report)
    with log.open("w", encoding="utf-8") as lines:
        _bootstrap(spec, recipe, folder, apt, workspace, _both(lines.write, progress))
        report("finish the tree")
        (folder / "finish.sh").write_text(recipe.script)
        run(
            [*namespaces(), "sh", "finish.sh"],
            doing=f"finish the template {spec.name}",
            deadline=300,
            cancelled=workspace.cancelled,
            cwd=folder,
            env={"ENABLED": " ".join(recipe.enabled), "MASKED": " ".join(recipe.masked)},
            on_line=_both(lines.write, progress),
        )


def remove(folder: Path) -> None:
    """Delete a folder with a tree in it, whoever its files belong to; gone is fine."""
    if folder.exists():
        run([*namespaces(), "rm", "-rf", "--", folder], doing=f"remove {folder}", deadline=300)


def _bootstrap(
    spec: Spec,
    recipe: Recipe,
    folder: Path,
    apt: sources.Apt,
    workspace: Workspace,
    on_line: Callable[[str], None],
) -> None:
    suite = SUITES[spec.definition.base]
    packages = {*recipe.packages, *recipe.further[suite], *spec.definition.packages}
    argv = [*namespaces(), "mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
    argv += ["--verbose", '--aptopt=Acquire::Languages "none"']
    argv += [f'--aptopt={key} "{value}"' for key, value in apt.options]
    argv += [f'--aptopt=Dir::Etc::{key} "{path}"' for key, path in _CREDENTIALS if path.exists()]
    argv += [f"--include={','.join(sorted(packages))}"]
    for repository in spec.image.repositories:
        name = f"{repository.name}.sources"
        (folder / name).write_text(sources.repository_stanza(repository))
        argv += [f"--setup-hook=upload {name} /etc/apt/sources.list.d/{name}"]
    argv += [suite, "tree"]
    if apt.sources:
        keyring = sources.KEYRING if Path(sources.KEYRING).exists() else ""
        lines = "".join(s.line(suite, keyring=keyring) for s in apt.sources)
        (folder / "debian.list").write_text(lines)
        argv += ["debian.list"]
    try:
        run(
            argv,
            doing=f"build the template {spec.name}",
            deadline=3000,
            cancelled=workspace.cancelled,
            cwd=folder,
            env={"LC_ALL": "C.UTF-8", "TMPDIR": str(folder)},
            on_line=on_line,
        )
    except DriverError as error:
        raise _explained(error, spec) from error


_CREDENTIALS = (
    ("netrc", Path("/etc/apt/auth.conf")),
    ("netrcparts", Path("/etc/apt/auth.conf.d")),
)


def _explained(error: DriverError, spec: Spec) -> DriverError:
    """The same error, its cause the one that matters: mmdebstrap's last line never is."""
    text = "\n".join(error.lines)
    base = spec.definition.base
    cause, hint = "", "lab doctor"
    if missing := re.findall(r"E: (?:Unable to locate package|Package ')\s*([a-z0-9.+-]+)", text):
        cause = f"{base} has no package {', '.join(dict.fromkeys(missing))}"
        hint = "mend image.packages in the persona"
    elif "No space left on device" in text:
        cause, hint = "no space is left on this machine", "df -h"
    elif "NO_PUBKEY" in text or "is not signed" in text:
        cause = "this machine does not know the key that signs the packages"
        hint = (
            "apt-get install --only-upgrade debian-archive-keyring   (or see the repository's key)"
        )
    elif found := re.findall(
        r"^E: (.*(?:Failed to fetch|Could not|resolve).*)$", text, re.MULTILINE
    ):
        cause = found[0].strip().rstrip(".")
        hint = "apt-get update   (does this machine reach its own package sources?)"
    elif found := re.findall(r"^E: (.+)$", text, re.MULTILINE):
        cause = found[0].strip().rstrip(".")
    if not cause:
        return error
    return type(error)(
        f"Unable to build the template {spec.name}: {cause}.",
        hint=hint,
        command=error.command,
        status=error.status,
        lines=error.lines,
    )


def _write_overlay(spec: Spec, recipe: Recipe, overlay: Path, apt: sources.Apt) -> None:
    """Everything that is not from a package, as it will stand in the tree, owned by root."""
    image: Image = spec.image
    here = recipe.this_machine
    overlay.mkdir()
    overlay.chmod(0o755)
    for path, (text, mode) in recipe.files(spec.name).items():
        _place(overlay, path, text.encode(), mode)
    _place(overlay, "/etc/apt/apt.conf.d/90machine", apt.guest_conf(here).encode(), 0o644)
    if apt.sources:
        stanzas = [s.stanza(SUITES[spec.definition.base], here) for s in apt.sources]
        _place(
            overlay, "/etc/apt/sources.list.d/debian.sources", "\n".join(stanzas).encode(), 0o644
        )
    for repository in image.repositories:
        stanza = sources.repository_stanza(repository, here).encode()
        _place(overlay, f"/etc/apt/sources.list.d/{repository.name}.sources", stanza, 0o644)
    for certificate in apt.certificates:
        _place(overlay, f"{_LOCAL_CA}/machine-{certificate.name}", certificate.read_bytes(), 0o644)
    for number, own in enumerate(image.certificates):
        name = f"lab-{number}-{Path(own.path).stem}.crt"
        _place(overlay, f"{_LOCAL_CA}/{name}", own.content, 0o644)
    for path, file in image.files.items():
        _place(overlay, path, file.bytes, int(file.mode, 8))


def _place(overlay: Path, path: str, content: bytes, mode: int) -> None:
    target = overlay / path.lstrip("/")
    for parent in reversed(target.relative_to(overlay).parents):
        folder = overlay / parent
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    target.write_bytes(content)
    target.chmod(mode)


def _both(write: Callable[[str], object], progress: _Progress) -> Callable[[str], None]:
    def line(text: str) -> None:
        write(f"{text}\n")
        progress(text)

    return line


class _Progress:
    """Counts what apt and dpkg say: of how many packages how many are there."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._total = 0
        self._got = 0
        self._set_up = 0

    def __call__(self, line: str) -> None:
        """One line of mmdebstrap's output."""
        counted = _COUNT.match(line)
        if counted:
            self._total += int(counted[1])
        elif line.startswith("Get:") and self._total:
            self._got += 1
            self._report("download packages", min(self._got, self._total), self._total)
        elif line.startswith("Setting up ") and self._total:
            self._set_up += 1
            self._report("install packages", min(self._set_up, self._total), self._total)
        elif line.startswith("I: running apt-get update"):
            self._report("read the package lists")

"""A thin client of the system's ``git``: one bare repository, read as data and never run.

Nothing that a commit holds is carried out: no hooks, no filters, no submodules, no file system
monitor. Names of branches and addresses never become options.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.clients.process import Finished, run
from lab.errors import ConfigError, DriverError, LabError, Problem

MAX_FILES = 50_000
MAX_BYTES = 512 * 1024 * 1024
ZERO = re.compile(r"^0+$")
_COMMIT = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")
_LINK = "120000"
_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.symlinks=true",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "protocol.ext.allow=never",
    # only signatures of SSH keys that the owner listed count, see `verify`
    "gpg.program=/bin/false",
    "gpg.x509.program=/bin/false",
)
# What a hook's environment or the pusher's own `git -c` must not change.
_ENV = {
    "GIT_CONFIG_PARAMETERS": "",
    "GIT_CONFIG_COUNT": "0",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}
# A pushed .gitattributes must not wake a filter of the user who runs the lab.
_NO_FILTERS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """Who wrote a commit, and its first line."""

    author: str
    subject: str


class Repository:
    """One repository of this machine: a bare one, or a checkout's ``.git``."""

    def __init__(self, folder: Path, cancelled: threading.Event | None = None) -> None:
        self.folder = folder
        self._cancelled = cancelled

    @classmethod
    def create(cls, folder: Path, branch: str) -> Repository:
        """Make an empty bare repository; one that is there stays as it is."""
        if not (folder / "HEAD").exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            doing = f"make the repository {folder}"
            argv = ["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", "--"]
            run([*argv, folder], doing=doing, env=_ENV)
        return cls(folder)

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that a checkout belongs to. Raises LabError where there is none."""
        argv = ["git", "-C", str(folder), "rev-parse", "--absolute-git-dir"]
        done = run(argv, doing=f"look for the repository of {folder}", env=_ENV, check=False)
        if done.status != 0:
            raise LabError(
                f"Unable to compare the lab with another commit: {folder} is no git checkout.",
                hint=f"git -C {folder} init",
            )
        return cls(Path(done.text.strip()))

    def commit(self, name: str) -> str | None:
        """The full id of a commit, branch or tag; ``None`` where there is none of that name."""
        argv = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
        done = self._git(argv, f"find {name}", check=False)
        found = done.text.strip()
        return found if done.status == 0 and _COMMIT.match(found) else None

    def head(self, branch: str) -> str | None:
        """The newest commit of a branch, or ``None``."""
        return self.commit(f"refs/heads/{branch}")

    def folder_in_commit(self, checkout: Path) -> str:
        """Where a folder of a checkout stands inside its commits (``""`` at the top)."""
        argv = ["git", "-C", str(checkout), "rev-parse", "--show-prefix"]
        return run(argv, doing=f"find {checkout} in its repository", env=_ENV).text.strip()

    def about(self, commit: str) -> CommitInfo:
        """Author and subject, for people."""
        argv = ["log", "-1", "--format=%an%x00%s", "--end-of-options", commit]
        author, _, subject = self._git(argv, f"read {commit[:12]}").text.strip().partition("\0")
        return CommitInfo(author, subject)

    def fetch(self, url: str, branch: str, deadline: float = 120.0) -> str:
        """Take over a remote branch, also where it was rewritten; returns its newest commit.

        Raises DriverError where the remote cannot be reached or has no such branch; what was
        fetched before stays.
        """
        refspec = f"+refs/heads/{branch}:refs/heads/{branch}"
        options = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        argv = ["fetch", *options, "--end-of-options", url, refspec]
        self._git(argv, f"fetch {branch} from {without_login(url)}", deadline=deadline)
        found = self.head(branch)
        if found is None:
            raise DriverError(f"Unable to fetch {branch}: the remote has no such branch.")
        return found

    def verify(self, commit: str, signers: Path) -> None:
        """Raise LabError unless one of the listed SSH keys signed this commit.

        ``signers`` is an ``allowed_signers`` file, as ``ssh-keygen`` knows it.
        """
        settings = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}"]
        argv = [*settings, "verify-commit", commit]  # a full id: never an option
        done = self._git(argv, f"check who signed {commit[:12]}", check=False)
        if done.status != 0:
            said = done.lines[-1].strip().rstrip(".") if done.lines else "it is not signed"
            raise LabError(
                f"Unable to accept the commit {commit[:12]}: {said}; only commits signed by a key"
                f" in {signers} are.",
                hint="git commit --amend --no-edit -S, then push again",
            )

    def export(self, commit: str, folder: Path) -> None:
        """Write the files of a commit into a new folder, mode 0700.

        Raises ConfigError where one of its links leads out of the lab, or where it is too large.
        """
        links = self._check_tree(commit)
        folder.mkdir(mode=0o700, parents=True)
        index = folder.with_name(f"{folder.name}.index")
        env = {**_NO_FILTERS, "GIT_INDEX_FILE": str(index)}
        doing = f"read the files of {commit[:12]}"
        try:
            self._git(["read-tree", commit], doing, env=env)
            argv = [f"--work-tree={folder}", "checkout-index", "--all", "--force", "--quiet"]
            self._git(argv, doing, env=env, cwd=folder, deadline=300.0)
        finally:
            index.unlink(missing_ok=True)
        root = folder.resolve()
        problems = [
            Problem(f"{name}:1:1", "is a link that leads out of the lab")
            for name in links
            if not (root / name).resolve().is_relative_to(root)
        ]
        if problems:
            raise ConfigError(problems)

    def _check_tree(self, commit: str) -> list[str]:
        """The symbolic links in a commit; raises ConfigError where it is too much to write."""
        listing = self._git(["ls-tree", "-r", "-l", "-z", commit], f"list {commit[:12]}").stdout
        links: list[str] = []
        size = count = 0
        for entry in listing.split(b"\0"):
            head, tab, name = entry.partition(b"\t")
            if not tab:
                continue
            mode, _, _, length = head.decode().split()
            count += 1
            size += int(length) if length.isdigit() else 0
            if mode == _LINK:
                links.append(os.fsdecode(name))
        if count > MAX_FILES or size > MAX_BYTES:
            what = f"holds {count:,} files of {size >> 20:,} MiB"
            most = f"a lab has at most {MAX_FILES:,} files and {MAX_BYTES >> 20} MiB"
            raise ConfigError([Problem("", f"the commit {commit[:12]} {what}; {most}")])
        return links

    def _git(
        self,
        argv: list[str],
        doing: str,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        deadline: float = 60.0,
    ) -> Finished:
        settings = [word for value in _SAFE for word in ("-c", value)]
        words = ["git", *settings, f"--git-dir={self.folder}", *argv]
        return run(
            words,
            doing=doing,
            deadline=deadline,
            cancelled=self._cancelled,
            env={**_ENV, **(env or {})},
            cwd=cwd,
            check=check,
        )


def check_url(url: str) -> str:
    """An address that git may fetch from. Raises ValueError in plain words."""
    scheme, colon, _ = url.partition("://")
    shown = without_login(url)
    odd = any(c.isspace() or not c.isprintable() for c in url)
    if not url or url.startswith("-") or "://-" in url or "@-" in url or odd:
        raise ValueError(f"{shown!r} is not the address of a repository")
    if colon and scheme not in {"file", "git", "http", "https", "ssh"}:
        raise ValueError(f"{scheme}:// is not a way to fetch: use https, ssh, git or file")
    if not colon and "::" in url:
        raise ValueError(f"{shown!r}: remote helpers (NAME::ADDRESS) are not used")
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at and (":" in login or scheme in {"http", "https"}):
        raise ValueError(
            f"{shown}: a login in the address would be seen by others; keep it in git itself"
            " (git help credential-store), or use ssh"
        )
    return url


def check_branch(name: str) -> str:
    """A branch's name as git allows it. Raises ValueError in plain words."""
    bad = ("..", "@{", "//", "\\", " ", "~", "^", ":", "?", "*", "[")
    wrong = not name or name.startswith(("-", "/", ".")) or name.endswith(("/", ".", ".lock"))
    if wrong or any(b in name for b in bad) or not name.isprintable():
        raise ValueError(f"{name!r} is not the name of a branch")
    return name


def without_login(url: str) -> str:
    """The address as it may be shown: a name and a password in it are left out."""
    return re.sub(r"^([A-Za-z+]+://).*@", r"\1", url)

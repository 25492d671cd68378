"""A set of things on a host that must not be lost: captured, verified and restored as one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataSet:
    """What belongs together on one host.

    Attributes:
        name: Unique on its host: a workload's name, or the key under the persona's ``data:``.
        paths: Absolute, sorted, none inside another one. May be empty where there is a ``dump``.
        exclude: Absolute paths or patterns (``/srv/x/cache``, ``/srv/x/*.tmp``) left out.
        dump: A command on the host whose output is captured as one file; ``""``: none.
        restore: Its counterpart: reads that file from its standard input.
        before: Run before the paths are read, so that they hold still.
        after: Run after they were read, whatever happened; ``""``: nothing.
        folder: Where the commands run; ``""``: ``/``.
        workload: The workload that uses it: stopped while its paths are swapped; ``""``: none.
        optional: The paths are patterns, and what does not exist is no mistake.
        route: ``pull``: tar's stream comes here, into restic; ``push``: restic on the host brings
            it to a door of ours; ``auto``: push where it is large and that can be; ``""``: as the
            lab says.
        where: What leads to it in the host's merged document, for the error's line.
    """

    name: str
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    dump: str = ""
    restore: str = ""
    before: str = ""
    after: str = ""
    folder: str = ""
    workload: str = ""
    optional: bool = False
    route: str = ""
    where: tuple[str | int, ...] = ()

    @property
    def quiesced(self) -> bool:
        """Whether something makes the paths hold still while they are read."""
        return bool(self.before or self.after)


def inside(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it."""
    return folder in {path, "/"} or path.startswith(f"{folder}/")

"""What users write about capturing: what is run around it, what is left out."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lab.model.keep import Route


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not an absolute path on the host: write it like /srv/photos")
    if "\n" in path or "\0" in path:
        raise ValueError("a path on one line, please")
    return "/" + "/".join(word for word in path.split("/") if word)


AbsolutePath = Annotated[str, AfterValidator(_absolute)]


class Quiesce(_Written):
    """Commands on the host that make the data hold still while it is read.

    Attributes:
        before: Run first; where it fails nothing is captured.
        after: Run in any case afterwards, also when the reading fails or is cut off.
    """

    before: str = ""
    after: str = ""


class Hooks(_Written):
    """How a set of data is captured.

    Attributes:
        dump: A command on the host; what it writes is captured as one file (``pg_dumpall``).
        restore: Its counterpart, which reads that file from its standard input.
        quiesce: Run around the reading of the paths.
        exclude: Absolute paths and patterns that are left out: ``/srv/x/cache``.
        route: How it comes: see ``capture:`` of ``lab.yaml``.
    """

    dump: str = ""
    restore: str = ""
    quiesce: Quiesce = Quiesce()
    exclude: tuple[AbsolutePath, ...] = ()
    route: Route | None = Field(
        None, description="pull, push or auto, for this set; left out: as lab.yaml says"
    )

    @model_validator(mode="after")
    def _both_ways(self) -> Hooks:
        if bool(self.dump.strip()) != bool(self.restore.strip()):
            raise ValueError(
                "dump and restore go together: what is written by the one is read by the other"
            )
        return self


class DeclaredData(Hooks):
    """One entry of a persona's ``data:``."""

    paths: tuple[AbsolutePath, ...] = Field((), description="folders and files on the host")

    @model_validator(mode="after")
    def _something(self) -> DeclaredData:
        if not self.paths and not self.dump:
            raise ValueError("there is nothing to capture: paths: [/srv/photos], or a dump")
        return self

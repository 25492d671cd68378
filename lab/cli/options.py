"""What the commands have in common: the settings, and the words and flags that fill them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from lab.cli import names
from lab.cli.words import nearest

F = TypeVar("F", bound=Callable[..., Any])

LAYER = re.compile(r"^l\d(_[a-z0-9_]+)?$")
KEYS = ("host", "persona", "tag", "provider")


@dataclass
class Settings:
    """How this call looks and where it works: the flags that every command takes."""

    root: str | None = None
    color: str = "auto"
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """Which hosts, which layer, and whether the layers below come along."""

    selectors: tuple[str, ...] = ()
    layer: str | None = None
    through: bool = True

    @property
    def words(self) -> str:
        """The same scope as the user types it, with a leading space where it is not empty."""
        parts = [*([self.layer] if self.layer else []), *self.selectors]
        parts += ["--through"] if self.layer and self.through else []
        return "".join(f" {p}" for p in parts)


class Offering(click.ParamType[str]):
    """A word that a shell can complete out of the lab's files or journal."""

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """What it may be; what does not begin as typed is left out afterwards."""
        raise NotImplementedError

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002  (click's signature)
        incomplete: str,
    ) -> list[CompletionItem[str]]:
        """Those of the offered words that begin as typed."""
        root = ctx.find_root().ensure_object(Settings).root
        words = self.offered(root, ctx, incomplete)
        return [CompletionItem(w) for w in words if w.startswith(incomplete)]


class Selector(Offering):
    """A positional word: a layer (``l3``) or a selector (``host=web1,persona=web``)."""

    name = "selector"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it is, once its form is right."""
        word = str(value)
        if LAYER.match(word):
            return word
        for term in word.split(","):
            key, equals, wanted = term.partition("=")
            if not equals and LAYER.match(term.lower()):
                self.fail(f"{term!r} is not a layer; write {term.lower()!r}", param, ctx)
            if not equals:
                self.fail(
                    f"{term!r} is neither a layer (l0 … l4) nor a selector; "
                    f"for the host of that name write host={term}",
                    param,
                    ctx,
                )
            if key not in KEYS:
                known = ", ".join(f"{k}=" for k in KEYS)
                end = nearest(key, KEYS)
                self.fail(f"{key}= does not select anything{end} Known: {known}", param, ctx)
            if not wanted:
                self.fail(f"{key}= needs a value", param, ctx)
        return word

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG002
        """Layers, selector keys, and after a key the names that the lab's files declare."""
        return names.completions(incomplete, root)


class HostName(Offering):
    """A host of the inventory."""

    name = "host"

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG002
        """The hosts that the lab's files declare."""
        return names.declared(root)["host"]


class RunName(Offering):
    """A run of the journal: its id, the beginning of it, ``last``, ``last~1``."""

    name = "run"

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG002
        """The newest runs, as ``lab history`` prints them."""
        return names.runs(root)


class HostOrRun(HostName):
    """A host of the inventory, or a run of the journal."""

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """Hosts, and ``last``; other runs where none of them fits."""
        hosts = super().offered(root, ctx, incomplete)
        fits = any(h.startswith(incomplete) for h in hosts)
        return hosts if fits and not "last".startswith(incomplete) else [*hosts, *names.runs(root)]


class Topic(Offering):
    """What is to be explained."""

    name = "topic"

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG002
        """Layers, and ``host=`` with the hosts that the lab's files declare."""
        if incomplete.startswith("host="):
            return names.completions(incomplete, root)
        return [*names.layers(), "exit-codes", "host="]


class ValuePath(Offering):
    """A value of the host that was named before it."""

    name = "path"

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:
        """Its paths, a level at a time."""
        host = str(ctx.params.get("topic") or "").removeprefix("host=")
        return [n for n, at in names.paths(root, host) if at <= incomplete.count(".")]


class SecretWord(Offering):
    """A secret's name."""

    name = "secret"

    def offered(self, root: str | None, ctx: click.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG002
        """The secrets that are there."""
        return names.secrets(root)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a common flag in the settings; given before the command or after it, it counts."""
    settings = ctx.find_root().ensure_object(Settings)
    if value not in {None, False} and param.name is not None:
        setattr(settings, param.name, value)


def _flag(*names_: str, text: str, **kwargs: Any) -> Callable[[F], F]:
    return click.option(
        *names_, expose_value=False, callback=_remember, is_eager=True, help=text, **kwargs
    )


def common(function: F) -> F:
    """The flags of every command; they end up in :class:`Settings`."""
    flags = (
        _flag(
            "-C",
            "--lab",
            "root",
            metavar="DIR",
            type=click.Path(exists=True, file_okay=False),
            text="The lab's folder (default: the nearest one above with a lab.yaml).",
        ),
        _flag(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            text="Colours (default: auto; NO_COLOR is honoured).",
        ),
        _flag("-q", "--quiet", is_flag=True, text="No progress, no hints."),
        _flag("-v", "--verbose", is_flag=True, text="Everything in full; tracebacks of bugs."),
    )
    for flag in reversed(flags):
        function = flag(function)
    return function


def as_json(function: F) -> F:
    """``--json``: one document, or events as JSON lines, on stdout."""
    flag = _flag("--json", is_flag=True, text="JSON on stdout (docs/cli.md has the schemas).")
    return flag(function)


def scoped(function: F) -> F:
    """``[LAYER] [SELECTOR]…``, how far down and how wide to go; one argument each."""
    for option in (
        click.option(
            "--jobs",
            type=click.IntRange(1, 1024),
            metavar="N",
            help="At most N hosts at a time.",
        ),
        click.option(
            "--only-this-layer",
            is_flag=True,
            help="With LAYER: only look at the layers below (the default).",
        ),
        click.option("--through", is_flag=True, help="With LAYER: the layers below it as well."),
        click.argument("words", nargs=-1, type=Selector(), metavar="[LAYER] [SELECTOR]..."),
    ):
        function = option(function)
    return function


def selected(function: F) -> F:
    """``[SELECTOR]…`` alone, passed as ``words``."""
    return click.argument("words", nargs=-1, type=Selector(), metavar="[SELECTOR]...")(function)


def scope_of(words: tuple[str, ...], *, through: bool = False, only: bool = False) -> Scope:
    """Tell the layer from the selectors. Raises UsageError for what cannot be meant."""
    layers = [w for w in words if "=" not in w]
    if len(layers) > 1:
        raise click.UsageError(
            f"one layer at a time: {' or '.join(layers)}? "
            f"With --through a layer takes those below along."
        )
    if through and only:
        raise click.UsageError("--through and --only-this-layer contradict each other.")
    layer = layers[0] if layers else None
    if only and layer is None:
        raise click.UsageError("--only-this-layer needs a layer: l0 … l4.")
    selectors = tuple(w for w in words if "=" in w)
    return Scope(selectors, layer, through=through or layer is None)


def selectors_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """The selectors, where a layer makes no sense."""
    scope = scope_of(words)
    if scope.layer is not None:
        raise click.UsageError(f"this command takes whole hosts, not the layer {scope.layer}.")
    return scope.selectors

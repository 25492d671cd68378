"""The lab's files as one validated value: who exists, what each is for, part by part."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from lab.config import accepted, promoted
from lab.config.datasets import declared as declared_data
from lab.config.files import LabReader
from lab.config.merge import merge, without
from lab.config.problems import problems_of, suggest
from lab.config.rules import host_problems, waiting_problems
from lab.config.tree import Node, Place, read
from lab.errors import ConfigError, Problem
from lab.layer import Layer
from lab.model.declared import (
    DNS_NAME,
    NAME,
    CaptureEntry,
    HostEntry,
    HostsFile,
    LabEntry,
    Overlaid,
    Persona,
    host_name,
)
from lab.model.host import Host, Part
from lab.model.secret import NoSecrets, Secrets

if TYPE_CHECKING:
    from lab.model.accepted import Acceptance, AcceptedFile

HOST_KEYS = frozenset(HostEntry.model_fields)
OVERLAID = frozenset({"data", "lifecycle", "vars"})
PERSONA_KEYS = frozenset(Persona.model_fields)


@dataclass(frozen=True)
class Inventory:
    """Everything the lab's files declare, valid as a whole.

    Attributes:
        name: The lab's.
        root: The folder with ``lab.yaml``.
        hosts: By name, in the order they are declared.
        personas: Persona name to its purpose.
        providers: Provider name to its kind.
        documents: Host name to its merged tree, for ``lab show``.
        lab: The tree of ``lab.yaml``.
        secrets: Where the values of its secrets come from.
        accepted: What may be on the machines undeclared.
        capture: Where captures are kept; ``None`` where the lab does not say.
        commit: Which commit these files are, where whoever loaded them knows; ``None`` = ask git.
    """

    name: str
    root: Path
    hosts: Mapping[str, Host]
    personas: Mapping[str, str]
    providers: Mapping[str, str]
    documents: Mapping[str, Node] = field(repr=False, default_factory=dict)
    lab: Node | None = field(repr=False, default=None)
    secrets: Secrets = field(repr=False, default_factory=NoSecrets)

    accepted: tuple[Acceptance, ...] = ()
    commit: str | None = None
    capture: CaptureEntry | None = None

    @property
    def context(self) -> dict[str, Any]:
        """For validating a spec that the ledger holds: its secrets keep their way to the value."""
        return {"secrets": self.secrets}


def find_root(start: Path) -> Path:
    """The nearest folder upwards that holds ``lab.yaml``. Raises ConfigError where none does."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "lab.yaml").exists():
            return folder
    raise ConfigError([Problem("lab.yaml", f"not found in {start} or any folder above it")])


def lab_name(root: Path) -> str:
    """What ``lab.yaml`` calls the lab; ``""`` where it cannot be read (loading says why)."""
    node, _ = read(root / "lab.yaml", "lab.yaml")
    name = node.get("name") if node is not None else None
    return str(name.value) if name is not None and NAME.match(str(name.value)) else ""


def load(root: Path, layers: Sequence[Layer], secrets: Secrets | None = None) -> Inventory:
    """Read and validate the whole lab; ``secrets`` is where their values will come from.

    Raises ConfigError with every mistake in every file, in file order. Touches nothing, and
    decrypts nothing.
    """
    return _Loading(root, tuple(layers), secrets or NoSecrets()).run()


class _Loading:
    """One loading of one lab; collects problems until the end."""

    def __init__(self, root: Path, layers: tuple[Layer, ...], secrets: Secrets) -> None:
        self.root = root
        self.layers = layers
        self.secrets = secrets
        self.problems: list[Problem] = []
        self.reader = LabReader(root)
        self.context = {"reader": self.reader, "secrets": secrets}
        self.sections = {s for layer in layers for s in layer.sections}
        self.personas: dict[str, Node] = {}
        self.broken: set[str] = set()  # persona files that are there and say nothing
        self.purposes: dict[str, str] = {}
        self._resolved: dict[str, Node | None] = {}
        self._settings: dict[int, Persona | None] = {}
        self._overlaid: dict[tuple[int, ...], Overlaid | None] = {}
        self._parts: dict[tuple[Any, ...], tuple[Part, ...] | None] = {}
        self._kept: list[Node] = []  # keeps nodes alive whose id() is a cache key

    def run(self) -> Inventory:
        entry, lab_tree = self._lab()
        self._read_personas()
        for name in self.personas:
            self._resolve(name, ())
        self._lay_over_what_is_promoted()
        hosts: dict[str, Host] = {}
        documents: dict[str, Node] = {}
        declared = self._host_nodes()
        for name, node, place in declared:
            made = self._host(name, node, place, entry, lab_tree)
            if made is not None:
                hosts[name], documents[name] = made
        self._check_unused_personas({h.persona for h in hosts.values()})
        self.problems += waiting_problems(hosts, documents, [name for name, _, _ in declared])
        self.problems += host_problems(hosts, documents, self.layers)
        fine = self._accepted([name for name, _, _ in declared])
        self.problems += self.secrets.problems()
        if self.problems:
            raise ConfigError(sorted(set(self.problems), key=_order))
        assert entry is not None  # noqa: S101 (its absence is a problem)
        return Inventory(
            name=entry.name,
            root=self.root,
            hosts=hosts,
            personas=self.purposes,
            providers={k: str(v.get("kind", "")) for k, v in entry.providers.items()},
            documents=documents,
            lab=lab_tree,
            secrets=self.secrets,
            accepted=fine,
            capture=entry.capture,
        )

    def _tell(self, place: Place | str, what: str) -> None:
        self.problems.append(Problem(str(place), what))

    def _read(self, path: Path) -> Node | None:
        node, problems = read(path, path.relative_to(self.root).as_posix())
        self.problems += problems
        if node is not None and not isinstance(node.value, dict):
            self._tell(node.place, "a mapping (key: value) is expected here")
            return None
        for secret in node.secrets if node is not None else ():
            problem = self.secrets.problem(secret.value.name) if secret.value.name else None
            if problem is not None:
                self._tell(secret.place, problem)
        return node

    def _validate(self, model: type[BaseModel], plain: Any, tree: Node) -> Any:
        try:
            return model.model_validate(plain, context=self.context)
        except ValidationError as error:
            self.problems += problems_of(error, model, tree)
            return None

    def _lab(self) -> tuple[LabEntry | None, Node | None]:
        tree = self._read(self.root / "lab.yaml")
        if tree is None:
            return None, None
        entry: LabEntry | None = self._validate(LabEntry, tree.plain(), tree)
        return entry, tree

    def _read_personas(self) -> None:
        for path in sorted((self.root / "personas").glob("*.y*ml")):
            if not NAME.match(path.stem):
                self._tell(path.relative_to(self.root).as_posix(), f"{path.stem!r} is not a name")
            node = self._read(path)
            if node is None:
                self.broken.add(path.stem)
                continue
            self.personas[path.stem] = node
            own = {k: v.plain() for k, v in node.value.items() if k in PERSONA_KEYS}
            settings = self._validate(Persona, own, node)
            if settings is not None:
                self.purposes[path.stem] = settings.purpose
            for key in node.value:
                if key not in PERSONA_KEYS and key not in self.sections:
                    known = PERSONA_KEYS | self.sections
                    self._tell(node.keys[key], f"unknown key {key!r}{suggest(key, known)}")

    def _resolve(self, name: str, via: tuple[str, ...]) -> Node | None:
        """The persona with all it extends; ``None`` (and a problem) where that cannot be."""
        if name in via:
            node = self.personas[name]
            circle = " → ".join((*via[via.index(name) :], name))
            self._tell(
                node.keys.get("extends", node.place), f"personas extend in a circle: {circle}"
            )
            return None
        if name in self._resolved:
            return self._resolved[name]
        node = self.personas[name]
        base: Node | None = None
        good = True
        extends = node.get("extends")
        for item in extends.value if extends and isinstance(extends.value, list) else ():
            parent = str(item.value)
            if parent in self.broken:
                good = False
                continue
            if parent not in self.personas:
                self._tell(
                    item.place, f"unknown persona {parent!r}{suggest(parent, self.personas)}"
                )
                good = False
                continue
            above = self._resolve(parent, (*via, name))
            good = good and above is not None
            if above is not None:
                base = above if base is None else merge(base, above)
        own = without(node, frozenset({"extends", "purpose"}))
        if base is not None:
            base = without(base, frozenset({"protect"}))
        self._resolved[name] = (own if base is None else merge(base, own)) if good else None
        return self._resolved[name]

    def _lay_over_what_is_promoted(self) -> None:
        path = self.root / promoted.NAME
        tree = self._read(path) if path.exists() else None
        if tree is None:
            return
        found = list(promoted.problems(tree, self._resolved, self.sections))
        for where, what in found:
            self._tell(where, what)
        for name, persona in self._resolved.items():
            if persona is not None and not found:
                self._resolved[name] = promoted.laid_over(persona, tree, name)

    def _host_nodes(self) -> list[tuple[str, Node, Place]]:
        found: dict[str, tuple[Node, Place]] = {}
        for path in sorted((self.root / "inventory").glob("*.y*ml")):
            tree = self._read(path)
            if tree is None:
                continue
            if self._validate(HostsFile, tree.plain(), tree) is None:
                continue
            hosts = tree.value["hosts"]
            for name, node in hosts.value.items():
                place = hosts.keys[name]
                try:
                    host_name(name)
                except ValueError as error:
                    self._tell(place, str(error))
                    continue
                if name in found:
                    self._tell(place, f"host {name!r} is declared twice: also {found[name][1]}")
                    continue
                found[name] = (node, place)
        return [(name, node, place) for name, (node, place) in found.items()]

    def _host(
        self, name: str, node: Node, place: Place, entry: LabEntry | None, lab: Node | None
    ) -> tuple[Host, Node] | None:
        own = {k: v.plain() for k, v in node.value.items() if k in HOST_KEYS}
        said: HostEntry | None = self._validate(HostEntry, own, node)
        for key in node.value:
            if key not in HOST_KEYS and key not in self.sections:
                known = HOST_KEYS | self.sections
                self._tell(node.keys[key], f"unknown key {key!r}{suggest(key, known)}")
        if said is None:
            return None
        if said.address is not None:
            self._check_address(said.address, node)
        persona = self._persona_of(said, node)
        provider = self._provider_of(said, node, entry, lab)
        if persona is None or provider is None or entry is None:
            return None
        overlay = without(node, HOST_KEYS - OVERLAID)
        merged = merge(persona, overlay)
        parts = self._parts_of(merged, provider)
        if parts is None:
            return None
        settings = self._settings_of(persona)
        kept = self._overlaid_of(merged)
        if settings is None or kept is None:
            return None
        host = Host(
            name=name,
            persona=said.persona,
            provider=said.provider,
            address=said.address,
            after=said.after,
            tags=frozenset((*said.tags, *settings.tags)),
            protect=said.protect or settings.protect,
            vars={**entry.vars, **settings.vars, **said.vars},
            parts=parts,
            lifecycle=kept.lifecycle,
            data=declared_data(kept.data),
        )
        own_keys = [k for k in node.value if k in HOST_KEYS - OVERLAID]
        document = Node(
            {**merged.value, **{k: node.value[k] for k in own_keys}},
            place,
            {**merged.keys, **node.keys},
        )
        return host, document

    def _settings_of(self, persona: Node) -> Persona | None:
        """The engine's own keys of a persona; ``None`` where reading its file told of a mistake."""
        if id(persona) not in self._settings:
            own = {k: v.plain() for k, v in persona.value.items() if k in PERSONA_KEYS}
            try:
                settings = Persona.model_validate(own, context=self.context)
            except ValidationError:
                settings = None
            self._settings[id(persona)] = settings
        return self._settings[id(persona)]

    def _overlaid_of(self, merged: Node) -> Overlaid | None:
        """What a host's own entry may say differently from its persona; validated once for all."""
        nodes = {k: n for k in Overlaid.model_fields if (n := merged.get(k)) is not None}
        key = tuple(id(n) for n in nodes.values())
        if key not in self._overlaid:
            self._kept += nodes.values()
            tree = _document_tree(nodes, merged)
            self._overlaid[key] = self._validate(Overlaid, tree.plain(), tree)
        return self._overlaid[key]

    def _check_address(self, address: str, node: Node) -> None:
        """An address or a name; which of them a machine can have, its layer says."""
        try:
            ipaddress.ip_interface(address)
        except ValueError:
            if DNS_NAME.match(address) is None:
                where = node.find(("address",))
                self._tell(where, f"{address!r} is not an address: write it like 192.0.2.11/24")

    def _persona_of(self, said: HostEntry, node: Node) -> Node | None:
        if said.persona in self.personas:
            return self._resolved.get(said.persona)
        if said.persona in self.broken:
            return None
        where = node.value["persona"].place
        self._tell(where, f"unknown persona {said.persona!r}{suggest(said.persona, self.personas)}")
        return None

    def _provider_of(
        self, said: HostEntry, node: Node, entry: LabEntry | None, lab: Node | None
    ) -> Node | None:
        if entry is None or lab is None:
            return None
        providers: Node = lab.value["providers"]
        if said.provider in providers.value:
            found: Node = providers.value[said.provider]
            return found
        where = node.value["provider"].place
        known = suggest(said.provider, providers.value)
        self._tell(where, f"unknown provider {said.provider!r}{known}")
        return None

    def _parts_of(self, merged: Node, provider: Node) -> dict[str, tuple[Part, ...]] | None:
        """Every layer's parts; validated once for hosts whose sections are the same."""
        found: dict[str, tuple[Part, ...]] = {}
        good = True
        for layer in self.layers:
            if layer.optional and all(merged.get(s) is None for s in layer.sections):
                found[layer.name] = ()
                continue
            reads = [s for s in layer.document.model_fields if s != "host"]
            nodes = [provider if s == "provider" else merged.get(s) for s in reads]
            key = (layer.name, *(id(n) for n in nodes))
            if key not in self._parts:
                self._kept += [n for n in nodes if n is not None]
                tree = _document_tree(dict(zip(reads, nodes, strict=True)), merged)
                self._parts[key] = self._validate_layer(layer, tree)
            parts = self._parts[key]
            if parts is None:
                good = False
            else:
                found[layer.name] = parts
        return found if good else None

    def _validate_layer(self, layer: Layer, tree: Node) -> tuple[Part, ...] | None:
        document = self._validate(layer.document, tree.plain(), tree)
        if document is None:
            return None
        try:
            return layer.parts(document)
        except ValidationError as error:
            self.problems += problems_of(error, layer.document, tree)
            return None

    def _accepted(self, hosts: list[str]) -> tuple[Acceptance, ...]:
        found: list[Acceptance] = []
        heirs = accepted.lineage(self.personas)
        for path, persona in accepted.places(self.root, self.personas):
            tree = self._read(path)
            if tree is None:
                continue
            file: AcceptedFile | None = self._validate(accepted.model(), tree.plain(), tree)
            if file is None:
                continue
            for where, what in accepted.problems(file, tree, hosts, self.personas):
                self._tell(where, what)
            found += accepted.entries(file, tree, persona, heirs)
        return tuple(found)

    def _check_unused_personas(self, used: set[str]) -> None:
        """What no host uses may be half of something, but what it says must be right."""
        for name, persona in self._resolved.items():
            if name in used or persona is None:
                continue
            for layer in self.layers:
                sections = {s: persona.get(s) for s in layer.sections}
                if layer.optional and not any(sections.values()):
                    continue
                tree = _document_tree(sections, persona)
                try:
                    layer.document.model_validate(tree.plain(), context=self.context)
                except ValidationError as error:
                    self.problems += problems_of(error, layer.document, tree, partial=True)


def _document_tree(sections: Mapping[str, Node | None], merged: Node) -> Node:
    """The part of a host's document that one layer reads, with its places."""
    present = {s: n for s, n in sections.items() if n is not None}
    keys = {s: merged.keys.get(s, n.place) for s, n in present.items()}
    return Node(present, merged.place, keys)


def _order(problem: Problem) -> tuple[Any, ...]:
    """File order, then position; paths have no colons of their own in a lab."""
    file, _, rest = problem.where.partition(":")
    return (file, *(int(n) if n.isdigit() else 0 for n in rest.split(":")), problem.what)

"""Names for completion, read straight from the lab's files: quick, and silent about mistakes.

Validation is not wanted here: a half-written lab must still complete.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import folders

LIMIT = 4 * 1024 * 1024
"""Bytes; a larger file is not read while somebody waits for a TAB."""


def root_of(start: str | None) -> Path | None:
    """The lab's folder: ``start``, or the nearest one upwards with a ``lab.yaml``."""
    here = Path(start or ".").absolute()
    candidates = [here] if start else [here, *here.parents]
    return next((folder for folder in candidates if (folder / "lab.yaml").is_file()), None)


def declared(start: str | None) -> dict[str, list[str]]:
    """Hosts, personas, tags and providers by selector key; empty where nothing can be read."""
    found: dict[str, dict[str, None]] = {k: {} for k in ("host", "persona", "tag", "provider")}
    root = root_of(start)
    if root is None:
        return {key: [] for key in found}
    for path in sorted((root / "personas").glob("*.y*ml")):
        found["persona"][path.stem] = None
    found["provider"].update(dict.fromkeys(_keys(_read(root / "lab.yaml").get("providers"))))
    for path in sorted((root / "inventory").glob("*.y*ml")):
        hosts = _read(path).get("hosts")
        for name in _keys(hosts):
            found["host"][name] = None
            host = (hosts or {}).get(name)
            tags = host.get("tags") if isinstance(host, dict) else None
            found["tag"].update(dict.fromkeys(map(str, tags if isinstance(tags, list) else ())))
    return {key: list(names) for key, names in found.items()}


def paths(start: str | None, host: str) -> list[tuple[str, int]]:
    """Every value that the host's entry and personas write, and how deep it stands (0 = top)."""
    root = root_of(start)
    entries = (
        [_read(p).get("hosts") for p in sorted((root / "inventory").glob("*.y*ml"))] if root else []
    )
    entry = next((e[host] for e in entries if isinstance(e, dict) and host in e), None)
    if root is None or not isinstance(entry, dict):
        return []
    found = dict(_deep(entry))
    todo, seen = [str(entry.get("persona"))], set()
    while todo:
        name = todo.pop()
        if name in seen or "/" in name:
            continue
        seen.add(name)
        body = _read(root / "personas" / f"{name}.yaml")
        extends = body.pop("extends", None)
        todo += map(str, extends if isinstance(extends, list) else ())
        found.update(_deep(body))
    return sorted(found.items())


def _deep(values: dict[str, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, int]]:
    for key, value in values.items():
        yield f"{above}{key}", depth
        if isinstance(value, dict):
            yield from _deep(value, f"{above}{key}.", depth + 1)


def secrets(start: str | None) -> list[str]:
    """The secrets that are there, by the keys of their files."""
    root = root_of(start)
    found: list[str] = []
    for path in sorted((root / "secrets").rglob("*")) if root else ():
        if "hosts" in path.parts or path.name.startswith("."):
            continue
        if path.suffix in {".yaml", ".yml", ".json"}:
            found += _paths({k: v for k, v in _read(path).items() if k != "sops"})
        elif path.suffix == ".env":
            found += _env_keys(path)
    return found


def _paths(values: dict[str, Any], above: str = "") -> list[str]:
    paths = []
    for key, value in values.items():
        inner = isinstance(value, dict)
        paths += _paths(value, f"{above}{key}.") if inner else [f"{above}{key}"]
    return paths


def _env_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:LIMIT]
    except (OSError, UnicodeDecodeError):
        return []
    pairs = [line.partition("=") for line in lines if not line.startswith(("#", "sops_"))]
    return [key for key, equals, _ in pairs if equals]


def runs(start: str | None, limit: int = 50) -> list[str]:
    """``last``, and the newest runs of this machine's journal, as ``lab history`` prints them."""
    root = root_of(start)
    lab = _read(root / "lab.yaml").get("name") if root else None
    path = folders.state() / "strata" / str(lab) / "journal.db"
    if not lab or not path.is_file():
        return []
    sqlite3 = importlib.import_module("sqlite3")
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        rows = db.execute("SELECT id FROM run ORDER BY rowid DESC LIMIT ?", (limit,)).fetchall()
        db.close()
    except sqlite3.Error:
        return []
    return ["last", *(row[0].rpartition("-")[2] for row in rows)]


def layers() -> list[str]:
    """``["l0", "l1", …]``, from the names of the installed layers, importing none."""
    spec = importlib.util.find_spec("layers")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = {p.name.split("_", 1)[0] for place in places for p in Path(place).glob("l[0-9]_*")}
    return sorted(found)


def completions(incomplete: str, start: str | None) -> Iterator[str]:
    """What the word under the cursor may become."""
    before, comma, term = incomplete.rpartition(",")
    head = before + comma
    key, equals, value = term.partition("=")
    if equals:
        known = declared(start).get(key, [])
        yield from (f"{head}{key}={name}" for name in known if name.startswith(value))
        return
    if not head:
        yield from (layer for layer in layers() if layer.startswith(term))
    keys = ("host", "persona", "tag", "provider")
    yield from (f"{head}{k}=" for k in keys if k.startswith(term))


def _read(path: Path) -> dict[str, Any]:
    yaml = importlib.import_module("yaml")
    try:
        if path.stat().st_size > LIMIT:
            return {}
        value = yaml.load(path.read_bytes(), Loader=_loader(yaml))
    except Exception:  # noqa: BLE001  (whatever is wrong with the file, TAB must not complain)
        return {}
    return value if isinstance(value, dict) else {}


def _loader(yaml: Any) -> Any:
    """A safe loader that takes every ``!secret`` for nothing; in C where that is there."""
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("Names", (base,), {})
    loader.add_multi_constructor("!", lambda *_: None)
    return loader


def _keys(value: Any) -> list[str]:
    return [str(k) for k in value] if isinstance(value, dict) else []

"""Pure: Ansible's events, read as a rehearsal, or as what went wrong."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.masking import hides, mask
from layers.l3_system.errands import unique
from layers.l3_system.spec.errands import Difference, Step

_SKIPPED_IN_CHECK = ("not in check mode", "does not support check mode")
_ONLY_STATUS = "non-zero return code"
_KEPT_LINES = 20
_LONGEST = 200
_HIDDEN = "(secret)"


@dataclass(frozen=True, slots=True)
class Failure:
    """The task that ended the run: what it said, and where it stands."""

    name: str
    said: str
    lines: tuple[str, ...] = ()
    path: str = ""
    gone: bool = False


@dataclass(slots=True)
class Listener:
    """Takes events as they come; afterwards it knows what the run did or would do."""

    steps: list[Step] = field(default_factory=list)
    failure: Failure | None = None
    hosts: tuple[str, ...] = ()
    ended: bool = False
    _count: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _handlers: set[str] = field(default_factory=set)
    _failures: list[Failure] = field(default_factory=list)

    def started(self, event: Mapping[str, Any]) -> str:
        """A task begins: its name, unique in the run."""
        name = mask(f"task {event['of']}: {event['name']}")
        if event["handler"]:
            self._handlers.add(event["id"])
        self._count[name] = number = self._count.get(name, 0) + 1
        self._names[event["id"]] = name if number == 1 else f"{name} ({number})"
        return self._names[event["id"]]

    def finished(self, event: Mapping[str, Any]) -> str:
        """A task ended: its name. Keeps the step where it changed, or could not be looked at."""
        name = self._names.get(event["id"], f"task {event['of']}: {event['name']}")
        if event["status"] in {"failed", "unreachable"}:
            if not event["ignored"]:
                self._failures.append(self._failed(name, event))
            return name
        unseen = self._skipped(event)
        runs = event["changed"] or event["id"] in self._handlers  # as something notified it
        if event["changed"] or unseen:
            self.steps.append(
                Step(
                    name=name,
                    bare=mask(event["name"]),
                    differences=tuple(self._differences(event)),
                    unseen="" if runs else unseen,
                )
            )
        return name

    def end(self, event: Mapping[str, Any]) -> None:
        """The run is over: a failure that was rescued is none."""
        self.ended = True
        self.hosts = tuple(event["hosts"])
        if self._failures and (event["failed"] or event["gone"]):
            self.failure = self._failures[-1]

    def _skipped(self, event: Mapping[str, Any]) -> str:
        """Why check mode did not look, in our words; ``""`` where it did."""
        said = [str(r.get("msg", "")) for r in (event["found"], *event["items"])]
        if any(words in text for text in said for words in _SKIPPED_IN_CHECK):
            return "a dry run skips it"
        return ""

    def _failed(self, name: str, event: Mapping[str, Any]) -> Failure:
        found = next(
            (i for i in reversed(event["items"]) if not i.get("changed") and i.get("msg")),
            event["found"],
        )
        if event["hidden"]:
            return Failure(name, "it says no_log, so what it said is hidden", path=event["path"])
        streams = ("module_stderr", "stderr", "module_stdout", "stdout")
        lines = [
            mask(line)
            for stream in streams
            for line in str(found.get(stream) or "").splitlines()
            if line.strip()
        ]
        said = mask(" ".join(str(found.get("msg") or found.get("reason") or "it failed").split()))
        errors = [line for line in mask(str(found.get("stderr") or "")).splitlines() if line]
        if said == _ONLY_STATUS:
            said = f"{errors[-1].strip() if errors else 'it ended'} (status {found.get('rc')})"
        return Failure(
            name,
            said[:_LONGEST].rstrip("."),
            tuple(lines[-_KEPT_LINES:]),
            event["path"],
            gone=event["status"] == "unreachable",
        )

    def _differences(self, event: Mapping[str, Any]) -> Iterable[Difference]:
        if event["hidden"]:
            return [_hidden("no_log")]
        changed = [i for i in event["items"] if i["changed"]] or [event["found"]]
        diffs = [d for result in changed for d in _listed(result.get("diff"))]
        several = len({_path(d) for d in diffs} - {""}) > 1
        found = [one for d in diffs for one in self._compared(d, several=several)]
        names = unique([difference.field for difference in found])
        return [d.model_copy(update={"field": n}) for d, n in zip(found, names, strict=True)]

    def _compared(self, diff: Mapping[str, Any], *, several: bool) -> Iterable[Difference]:
        where = f"{_path(diff)} " if several and _path(diff) else ""
        before, after = diff.get("before"), diff.get("after")
        if isinstance(diff.get("prepared"), str):
            yield self._whole(f"{where}changes", "", diff["prepared"], diff["prepared"])
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            for key in sorted({*before, *after}, key=str):
                if before.get(key) != after.get(key):
                    yield self._one(f"{where}{key}", before.get(key), after.get(key))
        elif before is not None and after is not None and before != after:
            old, new = str(before), str(after)
            text = "\n".join(
                difflib.unified_diff(
                    old.splitlines(), new.splitlines(), "there", "wanted", lineterm=""
                )
            )
            yield self._whole(f"{where}content", old, new, text)
        elif "dst_binary" in diff or "dst_larger" in diff:
            yield Difference(field=f"{where}content", before="there", after="another")

    def _one(self, name: str, before: Any, after: Any) -> Difference:
        if hides(f"{before}{after}"):
            return _hidden(name)
        return Difference(field=name, before=before, after=after)

    def _whole(self, name: str, before: str, after: str, text: str) -> Difference:
        """Of a file with a secret in it no line is shown: an old one may be a secret, too."""
        if hides(before + after):
            return _hidden(name)
        old, new = (hashlib.sha256(t.encode()).hexdigest() for t in (before, after))
        return Difference(field=name, before=old, after=new, text=text)


def _hidden(name: str) -> Difference:
    return Difference(field=name, before=_HIDDEN, after=_HIDDEN, secret=True)


def _listed(diff: Any) -> list[Mapping[str, Any]]:
    found = diff if isinstance(diff, list) else [diff]
    return [d for d in found if isinstance(d, Mapping)]


def _path(diff: Mapping[str, Any]) -> str:
    after = diff.get("after")
    named = after.get("path") if isinstance(after, Mapping) else diff.get("before_header")
    return str(named or "").removesuffix(" (content)").removesuffix(" (file attributes)")

"""A run as OpenTelemetry spans: run, host, layer, change. The one module that knows the library.

Configured by the standard ``OTEL_*`` variables; without an endpoint nothing is imported and nothing
happens. What goes wrong here is told once and never breaks a run, nor delays it by more than
:data:`PATIENCE` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lab import __version__, events
from lab.masking import mask
from lab.model.outcome import Outcome, PartReport

PATIENCE = 2.0
"""Seconds that a run waits at its end for the collector to take the rest."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOT_INSTALLED = "no traces are sent: pip install 'strata-lab[otel]'"
_LOST = "some traces were not sent: the collector did not take them"


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return any(environment.get(name) for name in _ENDPOINTS) and not off and not none


@contextmanager
def traced(lab: str, listen: events.Listener) -> Iterator[events.Listener]:
    """The listener, and beside it one that traces, where the environment asks for that."""
    if not wanted():
        yield listen
        return
    try:
        trace = _Trace(lab)
    except ImportError:
        listen(events.Notice(time.time(), _NOT_INSTALLED))
        yield listen
        return
    except Exception as error:  # noqa: BLE001 (a wrong variable must not stop a run)
        listen(events.Notice(time.time(), f"no traces are sent: {mask(str(error))}"))
        yield listen
        return

    def both(event: events.Event) -> None:
        listen(event)
        trace.see(event)

    try:
        yield both
    finally:
        if not trace.close():
            listen(events.Notice(time.time(), _LOST))


class _Trace:
    """The spans of one run, from its events."""

    def __init__(self, lab: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._failed = _quiet()
        name = os.environ.get("OTEL_SERVICE_NAME") or "strata"
        own = {"service.name": name, "service.version": __version__, "strata.lab": lab}
        self._provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("strata", __version__)
        self._open: dict[tuple[str, ...], Any] = {}
        self._last: dict[str, float] = {}
        self._outcomes: dict[str, Outcome] = {}

    def see(self, event: events.Event) -> None:
        """Take in one event; never raises."""
        try:
            self._see(event)
        except Exception:  # noqa: BLE001 (a trace is worth less than the run)
            self._failed.set()

    def _see(self, event: events.Event) -> None:
        match event:
            case events.RunStarted():
                facts = {"run": event.run, "verb": event.verb, "hosts": len(event.hosts)}
                self._begin((), f"lab {event.verb}", event.at, facts)
            case events.PartStarted():
                host = (event.host,)
                if host not in self._open:
                    self._begin(host, event.host or "(shared)", event.at, {"host": event.host})
                key = (*host, event.layer, event.part)
                facts = {"host": event.host, "layer": event.layer, "part": event.part}
                name = f"{event.layer} {event.part}".strip()
                self._begin(key, name, event.at, {**facts, "driver": event.driver})
            case events.ChangeStarted():
                change = event.change
                step = (event.host, event.layer, event.part, change.what)
                fields = [mask(f.field) for f in change.fields]  # their values stay here
                facts = {"action": change.action.value, "what": change.what, "fields": fields}
                self._begin(step, f"{change.action} {change.what}", event.at, facts)
            case events.ChangeEnded():
                step = (event.host, event.layer, event.part, event.change.what)
                self._end(step, event.at, "done" if event.ok else "failed", good=event.ok)
            case events.PartEnded():
                self._part_ends(event.at, event.report)
            case events.RunEnded():
                self._run_ends(event)

    def _part_ends(self, at: float, report: PartReport) -> None:
        self._last[report.host] = at
        if not report.outcome.is_good or report.host not in self._outcomes:
            self._outcomes[report.host] = report.outcome
        why = report.failure.message if report.failure else ""
        key = (report.host, report.layer, report.part)
        self._end(key, at, report.outcome.value, good=report.outcome.is_good, why=why)

    def _run_ends(self, event: events.RunEnded) -> None:
        for host, outcome in self._outcomes.items():
            self._end((host,), self._last[host], outcome.value, good=outcome.is_good)
        for key in sorted(self._open, key=len, reverse=True):
            if key:
                self._end(key, event.at, "unknown", good=False)
        code = event.report.exit_code
        self._end((), event.at, code.name.lower(), good=int(code) in {0, 2})

    def _begin(self, key: tuple[str, ...], name: str, at: float, facts: Mapping[str, Any]) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415

        above = key[:-1] if len(key) != 3 else key[:1]  # noqa: PLR2004 (host, layer, part: one span)
        parent = self._open.get(above)
        context = set_span_in_context(parent) if key and parent is not None else None
        told = {
            f"strata.{k}": mask(v) if isinstance(v, str) else v for k, v in facts.items() if v != ""
        }
        self._open[key] = self._tracer.start_span(
            mask(name), context=context, attributes=told, start_time=int(at * 1e9)
        )

    def _end(
        self, key: tuple[str, ...], at: float, outcome: str, *, good: bool, why: str = ""
    ) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        span = self._open.pop(key, None)
        if span is None:
            return
        span.set_attribute("strata.outcome", outcome)
        kind = StatusCode.OK if good else StatusCode.ERROR
        span.set_status(Status(kind, None if good else mask(why or outcome)))
        span.end(end_time=max(int(at * 1e9), span.start_time or 0))  # clocks may be set back

    def close(self) -> bool:
        """Send the rest, as long as that is patient; whether all of it went."""
        return _in_time(self._provider.shutdown) and not self._failed.is_set()


def _in_time(call: Callable[[], object]) -> bool:
    """Whether the call came back in time; else it is left behind, and dies with the process."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


class _Heard(logging.Handler):
    """Takes what the library says to nobody, and remembers that it complained."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.complained = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 (logging's signature)
        """Only that it was said counts."""
        self.complained.set()


def _quiet() -> threading.Event:
    """Keep the library's log off the terminal; set when it had something to complain about."""
    log = logging.getLogger("opentelemetry")
    log.handlers = [h for h in log.handlers if not isinstance(h, _Heard)]
    heard = _Heard()
    log.addHandler(heard)
    log.propagate = False
    return heard.complained

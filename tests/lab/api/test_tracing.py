"""Traces: spans of real runs, taken by a real OTLP receiver; a dead collector costs little."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lab import events, masking
from lab.api import tracing

LAB = [sys.executable, "-m", "lab.cli"]
FILES = {
    "lab.yaml": "name: traced\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": """
image: {base: debian-13}
machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}
system: {packages: [curl]}
""",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box}\n",
}


@pytest.fixture
def collector():
    """An OTLP receiver on this machine: what it took, as (name, span)."""
    pytest.importorskip("opentelemetry.sdk", reason="pip install 'strata-lab[otel]'")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = ExportTraceServiceRequest()
            body.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in body.resource_spans:
                for scope in resource.scope_spans:
                    self.server.taken += scope.spans
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    server.taken = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def run(root, *words, endpoint="", **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more} if endpoint else more
    return subprocess.run(
        [*LAB, *words], cwd=root, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def facts(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_run_is_a_tree_of_spans(lab_dir, collector):
    done = run(
        lab_dir(FILES), "converge", "--yes",
        endpoint=f"http://127.0.0.1:{collector.server_port}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "traces" not in done.stderr
    by_id = {s.span_id: s for s in collector.taken}
    roots = [s for s in collector.taken if s.parent_span_id not in by_id]
    assert [s.name for s in roots] == ["lab converge"]
    assert facts(roots[0])["strata.outcome"] == "ok"
    above = {s.name: by_id[s.parent_span_id].name for s in by_id.values() if s is not roots[0]}
    assert above["web1"] == above["web2"] == "lab converge"
    assert above["l3_system"] in {"web1", "web2"}
    assert above["create package curl"] == "l3_system"
    change = next(s for s in collector.taken if s.name == "create package curl")
    assert facts(change)["strata.outcome"] == "done"
    assert all(s.end_time_unix_nano >= s.start_time_unix_nano for s in collector.taken)


def test_secrets_stay_here_and_clocks_may_go_back(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
    masking.hide("hunter2-hunter2", "pw")
    with tracing.traced("demo", events.ignore) as listen:
        listen(events.RunStarted(100.0, "r", "converge", ("a",), ("l1",)))
        listen(events.PartStarted(101.0, "a", "l1", "hunter2-hunter2", "toy"))
        from lab.model.outcome import Failure, Outcome, PartReport, RunReport

        why = Failure("DriverError", "it said hunter2-hunter2")
        part = PartReport("a", "l1", "hunter2-hunter2", "toy", Outcome.FAILED, failure=why)
        listen(events.PartEnded(50.0, part))
        listen(events.RunEnded(51.0, RunReport("converge", "r", (part,), {})))
    assert len(collector.taken) == 3
    assert "hunter2" not in str(collector.taken)
    assert "(secret pw)" in str(collector.taken)
    assert all(s.end_time_unix_nano >= s.start_time_unix_nano for s in collector.taken)


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_dead_collector_breaks_nothing_and_delays_little(lab_dir, collector, how):
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        if how == "hangs":
            dead.listen()
        started = time.monotonic()
        done = run(
            lab_dir(FILES), "converge", "--yes",
            endpoint=f"http://127.0.0.1:{dead.getsockname()[1]}",
        )  # fmt: skip
        took = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert "some traces were not sent" in done.stderr
    assert "Traceback" not in done.stderr
    assert took < 45, took  # it is given PATIENCE, twice; the rest is the machine's


def test_nothing_is_imported_unless_it_is_asked_for(lab_dir):
    code = (
        "import sys; from lab.cli.main import run; run(['plan', '--quiet']);"
        "sys.exit(any(m.startswith('opentelemetry') for m in sys.modules))"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=lab_dir(FILES), env=env, check=False)
    assert done.returncode == 0


def test_without_the_library_a_run_says_so_and_goes_on(lab_dir):
    code = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None;"
        "sys.modules['opentelemetry'] = None;"
        "from lab.cli.main import run; sys.exit(run(['converge', '--yes']))"
    )
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=lab_dir(FILES), env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "strata-lab[otel]" in done.stderr


@pytest.mark.parametrize(
    ("variables", "asks"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_standard_variables_decide(variables, asks):
    assert tracing.wanted(variables) is asks

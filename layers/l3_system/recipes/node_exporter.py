"""``node_exporter``: metrics of the host for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layers.l3_system.spec import System
from layers.l3_system.spec.software import NodeExporter

NAME = "node_exporter"
_DEFAULTS = "/etc/default/prometheus-node-exporter"


def expand(system: System) -> Mapping[str, Any]:
    """The package, its options, and the service, restarted when they change."""
    wanted = system.node_exporter
    if wanted is None:
        return {}
    return {
        "packages": ["prometheus-node-exporter"],
        "files": {_DEFAULTS: {"content": f'ARGS="{" ".join(_options(wanted))}"\n'}},
        "services": {"prometheus-node-exporter": {"state": "running", "restart_on": [_DEFAULTS]}},
    }


def _options(wanted: NodeExporter) -> list[str]:
    listen = [] if wanted.listen is None else [f"--web.listen-address={wanted.listen}"]
    collectors = [
        f"--{'' if on else 'no-'}collector.{name}" for name, on in wanted.collectors.items()
    ]
    return [*listen, *collectors, *wanted.args]

"""What an operator's question costs, over the cheapest answer that the same server gives in the same run."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.harness import Row, median_ratio, time_alternating, versions_of
from tests.support.server_fleet import running_fleet

CALLS_A_BLOCK = 20
BLOCKS = 30


def rows() -> list[Row]:
    """Ask a real server with its real broker for all devices, in turns with its health."""
    with tempfile.TemporaryDirectory(prefix="lf-") as name, running_fleet(Path(name)) as fleet:
        server = fleet.server

        def repeat(path: str) -> Callable[[], None]:
            def block() -> None:
                for _ in range(CALLS_A_BLOCK):
                    server.api("GET", path)

            return block

        devices, health = time_alternating(repeat("/api/v1/devices"), repeat("/healthz"), blocks=BLOCKS)
    versions = versions_of("litefleet", "fastapi", "uvicorn", "sqlalchemy")
    return [
        Row(
            name="GET /api/v1/devices, p50",
            value=statistics.median(devices) / CALLS_A_BLOCK * 1e3,
            unit="ms",
            samples=BLOCKS * CALLS_A_BLOCK,
            baseline=statistics.median(health) / CALLS_A_BLOCK * 1e3,
            versions=versions,
        ),
        Row(
            name="GET /api/v1/devices / GET /healthz",
            value=median_ratio(devices, health),
            unit="ratio",
            samples=BLOCKS,
            baseline=1.0,
            versions=versions,
        ),
    ]

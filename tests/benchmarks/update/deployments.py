"""How long a deployment takes on this machine, and how much of a bundle a device fetches."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.benchmarks.harness import Row, at_most, versions_of
from tests.support.e2e_fleet import pack, real_fleet

VERSIONS = ("1.0.0", "1.1.0", "1.3.0")
DEVICES = 2


def rows() -> list[Row]:
    """Roll three releases out to two real agents; each deployment is one sample."""
    with tempfile.TemporaryDirectory(prefix="lf-") as name:
        folder = Path(name)
        bundles = {version: pack(version, folder) for version in VERSIONS}
        done = []
        with real_fleet(folder / "f", DEVICES) as fleet:
            fleet.publish(*bundles.values())
            for version in VERSIONS:
                done += fleet.wait_for_end(fleet.start_rollout(version))["deployments"]
        bundle_bytes = statistics.median(path.stat().st_size for path in bundles.values())
    assert all(row["state"] == "succeeded" for row in done), done
    versions = versions_of("litefleet", "tuf", "paho-mqtt", "ai-edge-litert")
    fetched = statistics.median(row["bytes_done"] for row in done)
    return [
        Row(
            name="deployment, assigned to succeeded, p50",
            value=statistics.median(row["seconds"] for row in done),
            unit="s",
            samples=len(done),
            versions=versions,
        ),
        Row(
            name="bytes a device fetches / bytes of its bundle",
            value=fetched / bundle_bytes,
            unit="ratio",
            samples=len(done),
            goal=at_most(1.0),
            baseline=1.0,
            versions=versions,
        ),
    ]

"""What the demo measured, as a table, and what of it is not as told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

DEVICES = 5
MIN_REQUESTS = 5000
MAX_SIZE_RATIO = 0.30
MAX_ACCURACY_DROP = 0.01


def unmet(summary: dict[str, Any]) -> list[str]:
    """Every promise of the demo that the figures do not keep; empty when all is as told."""
    faults = []
    if summary["requests_failed"]:
        faults.append(f"{summary['requests_failed']} of {summary['requests_total']} requests failed")
    if summary["requests_total"] < MIN_REQUESTS:
        faults.append(f"only {summary['requests_total']} requests, {MIN_REQUESTS} were to be counted")
    if summary["bytes_int8"] > MAX_SIZE_RATIO * summary["bytes_float"]:
        faults.append(f"int8 has {summary['bytes_int8']} bytes of {summary['bytes_float']}")
    if summary["accuracy_int8"] < summary["accuracy_float"] - MAX_ACCURACY_DROP:
        faults.append(
            f"int8 has an accuracy of {summary['accuracy_int8']}, float {summary['accuracy_float']}"
        )
    if not summary["telemetry_windows"]:
        faults.append("no telemetry arrived")
    return faults + _fleet_faults(summary)


def _fleet_faults(summary: dict[str, Any]) -> list[str]:
    faults = []
    for version in ("1.0.0", "1.1.0"):
        states = [row["state"] for row in summary["deployments"] if row["version"] == version]
        if states != ["succeeded"] * DEVICES:
            faults.append(f"deployments of {version} ended as {states}")
    canaries = [
        row for row in summary["deployments"] if row["version"] == "1.3.0" and row["state"] is not None
    ]
    if not canaries or any((row["state"], row["reason"]) != ("failed", "digest") for row in canaries):
        faults.append(f"deployments of the damaged 1.3.0 ended as {canaries}")
    if len(canaries) >= DEVICES:
        faults.append("the damaged 1.3.0 went beyond its canaries")
    refused = [row["what"] for row in summary["refused"]]
    if refused != ["digits 1.2.0 by the packager", *[f"digits 1.3.0 by {row['device']}" for row in canaries]]:
        faults.append(f"refused was {refused}")
    if set(summary["answering"].values()) != {"1.1.0"} or len(summary["answering"]) != DEVICES:
        faults.append(f"the fleet answers with {summary['answering']}, all were to answer with 1.1.0")
    return faults


def print_table(console: Console, summary: dict[str, Any]) -> None:
    """Print the summary for people."""
    table = Table(title="digits on five devices", box=box.SIMPLE_HEAD)
    table.add_column("device", no_wrap=True)
    table.add_column("profile", no_wrap=True)
    for name in ("1.0.0", "1.1.0", "1.3.0 damaged", "requests", "failed", "p50 / p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for device, row in summary["clients"].items():
        ends = [_end(summary, device, version) for version in ("1.0.0", "1.1.0", "1.3.0")]
        latency = f"{row['latency_ms_p50']:.1f} / {row['latency_ms_p99']:.1f}"
        table.add_row(device, row["profile"], *ends, str(row["requests"]), str(row["failed"]), latency)
    console.print(table)
    ratio = summary["bytes_int8"] / summary["bytes_float"]
    console.print(
        f"int8: {summary['bytes_int8']:,} of {summary['bytes_float']:,} bytes ({ratio:.2f}), accuracy "
        f"{summary['accuracy_int8']:.3f} (float {summary['accuracy_float']:.3f}) | "
        f"{summary['requests_total']:,} requests, {summary['requests_failed']} failed | "
        f"{summary['telemetry_windows']} telemetry windows | {summary['seconds']} s"
    )


def _end(summary: dict[str, Any], device: str, version: str) -> str:
    for row in summary["deployments"]:
        if (row["device"], row["version"]) == (device, version) and row["state"] is not None:
            mark = "ok" if row["state"] == "succeeded" else "refused"
            return f"{mark} {row['seconds']:.1f} s"
    return "-"

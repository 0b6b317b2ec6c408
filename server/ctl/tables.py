"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from server.ctl.changes import printable

_MIB = 1024 * 1024
_GOOD = frozenset({"succeeded", "online", "yes"})
_BAD = frozenset({"failed", "stopped", "offline", "no", "rolling-back"})


def devices_table(devices: Iterable[Any]) -> Table:
    """Every device with a line per model."""
    table = _table(
        *("device", "profile", "connection", "heat"),
        *("model", "desired", "runs", "variant", "delegate", "threads", "state"),
    )
    for device in devices:
        connection = "online" if device["online"] else "offline"
        head = [device["id"], device["profile"], connection, _heat_cell(device["heat"])]
        for name, model in device["models"].items() or [("", None)]:
            _add(table, [*head, name, *_model_cells(model)])
            head = ["", "", "", ""]
    return table


def releases_table(releases: Iterable[Any]) -> Table:
    """Every release."""
    table = _table("model", "version", "profiles", "published")
    for release in releases:
        profiles = ", ".join(release["profiles"])
        _add(table, [release["model"], release["version"], profiles, _time(release["published_at"])])
    return table


def rollouts_table(rollouts: Iterable[Any]) -> Table:
    """Every rollout in a line."""
    table = _table(
        "rollout", "model", "version", "state", "phase", "succeeded", "failed", "devices", "reason"
    )
    for rollout in rollouts:
        phases = rollout["phases"]
        sums = [sum(phase[key] for phase in phases) for key in ("succeeded", "failed", "devices")]
        phase = f"{rollout['phase'] + 1} of {len(phases)}"
        head = [rollout["id"], rollout["model"], rollout["version"], rollout["state"], phase]
        _add(table, [*head, *map(str, sums), rollout["reason"]])
    return table


def rollout_table(rollout: Any) -> Table:
    """One rollout with all its devices."""
    table = _table("device", "phase", "state", "reason", "seconds", "fetched", "detail")
    reason = f", {rollout['reason']}" if rollout["reason"] else ""
    table.title = (
        f"rollout {rollout['id']}: {rollout['model']} {rollout['version']} {rollout['state']}{reason}"
    )
    for entry in rollout["deployments"]:
        cells = [entry["device"], str(entry["phase"] + 1), entry["state"] or "waiting", entry["reason"] or ""]
        fetched = f"{entry['bytes_done'] / _MIB:.2f} MiB"
        _add(table, [*cells, f"{entry['seconds']:.1f}", fetched, entry["detail"]])
    return table


def telemetry_table(rows: Iterable[Any]) -> Table:
    """Every variant on every device."""
    table = _table(
        *("device", "model", "version", "variant", "requests", "errors"),
        *("mean ms", "p50 ms", "p95 ms", "p99 ms", "memory", "delegate", "throttled", "until"),
    )
    for row in rows:
        head = [row["device"], row["model"], row["version"], row["variant"]]
        counts = [str(row["requests"]), str(row["errors"])]
        latency = [f"{row[f'latency_ms_{key}']:.2f}" for key in ("mean", "p50", "p95", "p99")]
        memory = f"{row['rss_bytes'] / _MIB:.0f} MiB"
        delegate = "" if row["delegate"] is None else row["delegate"]["actual"]
        throttled = str(row["throttled_requests"]) if row["throttled_windows"] else ""
        _add(table, [*head, *counts, *latency, memory, delegate, throttled, _time(row["last"])])
    return table


def _heat_cell(heat: Any) -> str:
    """Empty for a device that runs as it was meant to."""
    if heat is None or heat["level"] == "normal":
        return ""
    causes = ", ".join(heat["causes"])
    return f"{heat['level']} ({causes})" if causes else str(heat["level"])


def benches_table(rows: Iterable[Any]) -> Table:
    """Every bench in a line."""
    table = _table(
        *("device", "board", "model", "version", "variant", "runtime", "threads", "delegate"),
        *("p50 ms", "p95 ms", "p99 ms", "memory", "counts", "why not, or what to know", "began"),
    )
    for row in rows:
        board = f"{row['board']} ({row['profile']})"
        head = [row["device"], board, row["model"], row["version"], row["variant"]]
        engine = [
            f"{row['runtime']} {row['runtime_version']}",
            str(row["threads"]),
            row["delegate"]["actual"],
        ]
        figures = [f"{row[f'{key}_ms']:.3f}" for key in ("p50", "p95", "p99")]
        memory = f"{row['pss_bytes'] / _MIB:.1f} MiB"
        counts = "yes" if row["is_valid"] else "no"
        _add(table, [*head, *engine, *figures, memory, counts, _bench_note(row), _time(row["at"])])
    return table


def _bench_note(row: Any) -> str:
    notes = [row["reason"]] if row["reason"] else []
    if row["requests_meanwhile"] is None:
        notes.append("perhaps disturbed by requests")
    elif row["requests_meanwhile"]:
        notes.append(f"disturbed by {row['requests_meanwhile']} requests")
    if not row["is_throttling_known"]:
        notes.append("this board does not tell whether it throttles")
    return "; ".join(notes)


def _model_cells(model: Any) -> list[str]:
    if model is None:
        return [""] * 6
    delegate = model["delegate"]
    state = model["state"] or ""
    return [
        model["desired"] or "",
        model["version"] or "",
        model["variant"] or "",
        "" if delegate is None else delegate["actual"],
        str(model["threads"] or ""),
        f"{state} ({model['reason']})" if model["reason"] else state,
    ]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, cells: Sequence[str]) -> None:
    # Text, not markup: names and details come from devices.
    table.add_row(*(Text(printable(cell), style=_style(cell)) for cell in cells))


def _style(cell: str) -> str:
    word = cell.partition(" ")[0]
    return "green" if word in _GOOD else "red" if word in _BAD else ""


def _time(text: str) -> str:
    return text[:19].replace("T", " ")

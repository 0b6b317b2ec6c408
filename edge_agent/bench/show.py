"""A bench for people, and for programs.

PURE. Rules:

1. What is not known is said to be unknown, never left out and never taken for well.
"""

from __future__ import annotations

from typing import Any

import msgspec

from contract.bench import Bench, BenchResult, BenchSummary, median, summarise
from edge_agent.inference.control import Measured

_MIB = 1 << 20


def bench_document(bench: Bench, *, is_kept: bool) -> dict[str, Any]:
    """Everything that was seen and what follows from it, as JSON types.

    Args:
        bench: The bench.
        is_kept: Whether it is kept for the server.
    """
    document: dict[str, Any] = msgspec.to_builtins(
        {
            "id": bench.id,
            "at": bench.at,
            "summary": summarise(bench.result),
            "result": bench.result,
            "is_kept_for_server": is_kept,
        }
    )
    return document


def does_count(bench: Bench) -> bool:
    """Whether the measure is valid."""
    return summarise(bench.result).is_valid


def kept_note(*, is_kept: bool, agent_pid: int | None) -> str:
    """What becomes of a bench, for people."""
    if not is_kept:
        return "The server is not told."
    if agent_pid is None:
        return "Kept: the agent does not run, and tells the server at its next start."
    return f"Kept: the agent (process {agent_pid}) tells the server."


def show_process(number: int, measured: Measured) -> str:
    """One process, while the bench runs."""
    latencies_s = measured.latencies_s
    return (
        f"process {number}: {len(latencies_s)} runs, median {median(latencies_s) * 1e3:.3f} ms,"
        f" {measured.pss_bytes / _MIB:.1f} MiB"
    )


def show_bench(bench: Bench) -> str:
    """A bench for people."""
    result, summary = bench.result, summarise(bench.result)
    report = summary.delegate
    nodes = f", {report.nodes_delegated} of {report.nodes_total} nodes" if report.nodes_total else ""
    runtime = f"{result.runtime} {result.runtime_version}".strip()
    rows = {
        "model": f"{result.model} {result.version}, variant {result.variant}",
        "board": f"{result.board} ({result.profile}), {result.cores} cores",
        "runs on": f"{runtime}, {report.actual}{nodes}, {_count(result.threads, 'thread')}",
        "latency": f"p50 {summary.p50_ms:.3f} ms, p95 {summary.p95_ms:.3f} ms, p99 {summary.p99_ms:.3f} ms",
        "": f"{summary.runs} runs in {_count(len(result.processes), 'process')}, their medians apart by"
        f" {(summary.spread_ratio - 1) * 100:.1f} %",
        "memory": f"{summary.pss_bytes / _MIB:.1f} MiB (PSS)",
        "start": f"{summary.start_s:.2f} s until loaded and warm",
        "heat": _heat(result, summary),
        "meanwhile": _meanwhile(result),
        "counts": "yes" if summary.is_valid else f"NO: {summary.reason}",
    }
    return "\n".join(f"{name + ':' if name else '':<10} {text}" for name, text in rows.items())


def _heat(result: BenchResult, summary: BenchSummary) -> str:
    known = [moment.celsius for moment in result.heat if moment.celsius is not None]
    degrees = f"{known[0]:.0f} to {max(known):.0f} °C" if known else "no sensor"
    if not summary.is_throttling_known:
        return f"{degrees}; this board does not tell whether it throttles"
    return f"{degrees}, {'throttled' if any(m.is_throttled for m in result.heat) else 'not throttled'}"


def _meanwhile(result: BenchResult) -> str:
    if result.requests_meanwhile is None:
        return "unknown whether requests were answered"
    if not result.requests_meanwhile:
        return "no requests were answered"
    return f"{_count(result.requests_meanwhile, 'request')} answered: a disturbed measure"


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("s") else "s")
    return f"{number} {what if number == 1 else plural}"

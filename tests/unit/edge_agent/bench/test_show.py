from __future__ import annotations

from typing import Any

import msgspec

from contract.bench import Bench, BenchHeat
from contract.messages import DelegateReport
from edge_agent.bench.show import bench_document, does_count, kept_note, show_bench, show_process
from edge_agent.inference.control import Measured
from tests.support.contract_builders import AT, a_bench_process, a_bench_result


def a_bench(**changes: Any) -> Bench:
    return Bench(v=1, id="n-1", at=AT, result=a_bench_result(**changes))


def test_a_bench_that_counts_says_everything() -> None:
    report = DelegateReport(requested="xnnpack", actual="xnnpack", nodes_total=9, nodes_delegated=8)
    text = show_bench(
        a_bench(
            processes=(
                a_bench_process(0.2, 0.2, delegate=report),
                a_bench_process(0.21, delegate=report),
                a_bench_process(0.24, delegate=report),
            ),
            requests_meanwhile=0,
            heat=(BenchHeat(is_throttled=False, celsius=50.2), BenchHeat(is_throttled=False, celsius=56.0)),
        )
    )
    assert text.splitlines() == [
        "model:     digits 1.1.0, variant int8",
        "board:     Pi 4 (pi-4), 4 cores",
        "runs on:   ai-edge-litert, xnnpack, 8 of 9 nodes, 4 threads",
        "latency:   p50 0.210 ms, p95 0.240 ms, p99 0.240 ms",
        "           4 runs in 3 processes, their medians apart by 20.0 %",
        "memory:    22.9 MiB (PSS)",
        "start:     0.50 s until loaded and warm",
        "heat:      50 to 56 °C, not throttled",
        "meanwhile: no requests were answered",
        "counts:    yes",
    ]
    assert does_count(a_bench())


def test_a_bench_that_does_not_count_says_why() -> None:
    fallen = DelegateReport(requested="edgetpu", actual="none", reason="no-device")
    bench = a_bench(
        processes=(a_bench_process(0.2, delegate=fallen),),
        threads=1,
        requests_meanwhile=12,
        heat=(BenchHeat(is_throttled=True, cause="the fan stands still"),),
    )
    lines = show_bench(bench).splitlines()
    assert "runs on:   ai-edge-litert, none, 1 thread" in lines
    assert "heat:      no sensor, throttled" in lines
    assert "meanwhile: 12 requests answered: a disturbed measure" in lines
    assert lines[-1] == (
        "counts:    NO: ran on none instead of edgetpu: no-device; "
        "the board was throttled: the fan stands still"
    )
    assert not does_count(bench)


def test_what_is_not_known_is_said() -> None:
    lines = show_bench(a_bench(heat=())).splitlines()
    assert "heat:      no sensor; this board does not tell whether it throttles" in lines
    assert "meanwhile: unknown whether requests were answered" in lines
    assert "meanwhile: 1 request answered: a disturbed measure" in show_bench(a_bench(requests_meanwhile=1))


def test_what_becomes_of_it_is_said() -> None:
    assert kept_note(is_kept=False, agent_pid=7) == "The server is not told."
    assert "process 7" in kept_note(is_kept=True, agent_pid=7)
    assert "at its next start" in kept_note(is_kept=True, agent_pid=None)


def test_a_process_is_one_line() -> None:
    shown = show_process(2, Measured(latencies_s=(0.001, 0.003, 0.002), pss_bytes=3 << 20))
    assert shown == "process 2: 3 runs, median 2.000 ms, 3.0 MiB"


def test_programs_get_every_run_and_what_follows() -> None:
    document = bench_document(a_bench(), is_kept=True)
    msgspec.json.encode(document)
    assert document["id"] == "n-1"
    assert document["is_kept_for_server"] is True
    assert document["result"]["processes"][0]["latencies_ms"] == (0.21, 0.23)
    assert document["summary"]["p50_ms"] == 0.22
    assert list(document["summary"]["faults"]) == []

"""What a probe says survives the probe's own death."""

from __future__ import annotations

from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.probe_protocol import (
    At,
    Failed,
    Passed,
    ProbeJob,
    Stage,
    encode_probe,
    parse_job,
    read_lines,
)


def test_a_job_arrives_as_it_was_sent() -> None:
    delegate = ExternalDelegate(name="npu", library="/lib/npu.so", options={"device": "usb:0"})
    job = ProbeJob(runtime="ai-edge-litert", delegate=delegate, has_xnnpack=False, limit_s=3.0)
    assert parse_job(encode_probe(job).decode()) == job


def test_what_was_said_before_a_crash_counts() -> None:
    stage, last = Stage(at=At.LOADING), Passed(worst_abs_error=0.5, nodes_total=6, nodes_delegated=1)
    whole = encode_probe(stage) + b"\n" + encode_probe(last) + b"\n"
    assert read_lines(whole) == [stage, last]
    assert read_lines(whole[:-9]) == [stage]
    assert read_lines(b"rubbish\n" + whole) == []


def test_a_failure_is_told_from_a_pass() -> None:
    failed = Failed(error="ValueError", text="")
    assert read_lines(encode_probe(failed)) == [failed]

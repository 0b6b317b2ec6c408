"""One example of every message, and random JSON, for tests of the contract and of its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec
from hypothesis import strategies as st

from contract.bench import Bench, BenchAck, BenchHeat, BenchProcess, BenchResult
from contract.deployment import Reason, State
from contract.histogram import LatencyHistogram
from contract.messages import (
    Ack,
    ChunkRequest,
    Control,
    DelegateReport,
    DeploymentChange,
    Desired,
    DesiredModel,
    DeviceInfo,
    DeviceState,
    Event,
    EventKind,
    Message,
    Reported,
    ReportedModel,
    SequencedWindow,
    ServerState,
    Telemetry,
    TelemetryWindow,
)
from contract.topics import Kind
from tests.support.builders import some_capabilities

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)
MODEL_DIGEST = "5f" * 32
BOOT = "b7c1"


def a_window(seq: int = 1) -> SequencedWindow:
    """Ten seconds of the digits model: two requests answered, one with an error."""
    window = TelemetryWindow(
        model="digits",
        version="1.1.0",
        variant="static-int8",
        start=AT,
        duration_s=10.0,
        requests=3,
        errors=1,
        latency=LatencyHistogram(count=2, sum_s=0.0035, buckets={22: 1, 24: 1}),
        rss_bytes=48_000_000,
    )
    return SequencedWindow(seq=seq, window=window)


def a_bench_process(*latencies_ms: float, **changes: Any) -> BenchProcess:
    """A process on XNNPACK that took 24 MB."""
    process = BenchProcess(
        latencies_ms=latencies_ms,
        pss_bytes=24_000_000,
        start_s=0.5,
        delegate=DelegateReport(requested="xnnpack", actual="xnnpack"),
    )
    return msgspec.structs.replace(process, **changes)


def a_bench_result(**changes: Any) -> BenchResult:
    """Two runs of the digits model in one process, on a board that does not throttle."""
    result = BenchResult(
        model="digits",
        version="1.1.0",
        variant="int8",
        digest=MODEL_DIGEST,
        profile="pi-4",
        board="Pi 4",
        runtime="ai-edge-litert",
        threads=4,
        cores=4,
        warm_up_runs=10,
        processes=(a_bench_process(0.21, 0.23),),
        heat=(BenchHeat(is_throttled=False, celsius=51.5),),
    )
    return msgspec.structs.replace(result, **changes)


EXAMPLES: Mapping[Kind, Message] = {
    Kind.STATE: DeviceState(v=1, online=True, boot=BOOT, session=7, agent_version="0.1.0", sent_at=AT),
    Kind.INFO: DeviceInfo(v=1, board="Raspberry Pi 4 Model B Rev 1.4", capabilities=some_capabilities()),
    Kind.REPORTED: Reported(
        v=1,
        revision=3,
        models={
            "digits": ReportedModel(
                version="1.1.0",
                variant="static-int8",
                digest=MODEL_DIGEST,
                delegate=DelegateReport(
                    requested="xnnpack", actual="xnnpack", nodes_total=9, nodes_delegated=9
                ),
                deployment="d-2",
                state=State.FAILED,
                reason=Reason.SELF_TEST,
                detail="top-1 agreement 0.4 is below 1.0",
            )
        },
    ),
    Kind.DEPLOYMENT: DeploymentChange(
        v=1,
        deployment="d-2",
        model="digits",
        version="1.1.0",
        step=2,
        before=State.ASSIGNED,
        after=State.FETCHING,
        bytes_done=0,
        seconds=0.25,
        at=AT,
    ),
    Kind.TELEMETRY: Telemetry(v=1, boot=BOOT, windows=(a_window(),)),
    Kind.EVENT: Event(
        v=1,
        kind=EventKind.ROLLED_BACK,
        at=AT,
        model="digits",
        version="1.2.0",
        reason=Reason.SELF_TEST,
        detail="top-1 agreement 0.1 is below 0.9",
    ),
    Kind.BENCH: Bench(v=1, id="n-1", at=AT, result=a_bench_result()),
    Kind.CHUNK_REQUEST: ChunkRequest(v=1, transfer="t-1", chunks=(0, 1, 5)),
    Kind.DESIRED: Desired(
        v=1,
        revision=4,
        models={"digits": DesiredModel(version="1.1.0", deployment="d-2", rollout="r-1", trial_s=30.0)},
    ),
    Kind.ACK: Ack(v=1, boot=BOOT, seq=41),
    Kind.BENCH_ACK: BenchAck(v=1, id="n-1"),
    Kind.CONTROL: Control(v=1, telemetry_interval_s=60.0, log_level="debug"),
    Kind.SERVER_STATE: ServerState(v=1, online=True, sent_at=AT),
}
"""One message of every kind; the documentation shows them."""

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
"""Anything that JSON can say."""

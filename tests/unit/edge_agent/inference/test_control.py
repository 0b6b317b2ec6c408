from __future__ import annotations

import pytest

from contract.errors import DigestError, MessageError, RuntimeLoadError, SelfTestError
from contract.histogram import LatencyHistogram
from contract.messages import DelegateReport
from edge_agent.inference import control
from edge_agent.inference.threads import Tuning

START = control.Start(
    model="digits",
    version="1.0.0",
    slot_dir="/s",
    threads=2,
    socket_path="/r/w/a.sock",
    tuning=Tuning(choices=(1, 2), seconds=0.5),
)
READY = control.Ready(
    variant="static-int8",
    digest="0" * 64,
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    delegate=DelegateReport(requested="xnnpack", actual="none"),
    threads=2,
    run_seconds={1: 0.2, 2: 0.1},
)
WINDOW = control.Window(
    duration_s=1.5,
    requests=3,
    errors=1,
    latency=LatencyHistogram(count=2, sum_s=0.1, buckets={3: 2}),
    rss_bytes=9,
)
REPORT = control.SelfTestReport(
    samples=10, worst_abs_error=0.01, max_abs_error=0.05, top1_agreement=1.0, duration_s=0.1
)


def test_a_start_comes_back_whole() -> None:
    assert control.parse_start(control.encode_control(START).decode()) == START


@pytest.mark.parametrize(
    "order",
    [
        control.SelfTest(),
        control.Measure(warm_up_runs=10, timed_runs=50),
        control.TakeWindow(),
        control.Drain(grace_s=0.5),
    ],
)
def test_an_order_comes_back_whole(order: control.ToWorker) -> None:
    assert control.parse_to_worker(control.encode_control(order)) == order


@pytest.mark.parametrize(
    "message",
    [
        READY,
        WINDOW,
        control.SelfTested(report=REPORT),
        control.Measured(latencies_s=(0.001, 0.002), pss_bytes=7),
        control.Failed(code="digest", message="x"),
    ],
)
def test_an_answer_comes_back_whole(message: control.FromWorker) -> None:
    assert control.parse_from_worker(control.encode_control(message)) == message


def test_what_cannot_be_read_is_refused() -> None:
    for parse in (control.parse_to_worker, control.parse_from_worker):
        with pytest.raises(MessageError):
            parse(b'{"type":"surprise"}')
    with pytest.raises(MessageError):
        control.parse_start("{")


def test_a_failure_keeps_its_class_and_details() -> None:
    error = SelfTestError("wrong", faults=["sample 3"], remedy="look")

    back = control.error_of(control.failed_of(error))

    assert isinstance(back, SelfTestError)
    assert (str(back), back.faults, back.remedy) == ("wrong", ("sample 3",), "look")
    assert isinstance(control.error_of(control.failed_of(DigestError("bad"))), DigestError)


def test_a_failure_with_endless_details_fits_a_record() -> None:
    error = SelfTestError("\0" * 9999, faults=["\0" * 9999] * 99, remedy="\0" * 9999)

    failed = control.failed_of(error)

    assert len(control.encode_control(failed)) <= control.RECORD_MAX_BYTES
    assert failed.faults[-1] == "and 79 more"


def test_a_failure_that_no_class_has_means_that_nothing_was_loaded() -> None:
    back = control.error_of(control.Failed(code="from-the-future", message="x", faults=("f",)))

    assert isinstance(back, RuntimeLoadError)
    assert back.faults == ("f",)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.bench import Bench, BenchFault, BenchHeat, median, nearest_rank, summarise
from contract.errors import MessageError
from contract.messages import DelegateReport, decode_message, encode_message
from contract.topics import Kind
from tests.support.contract_builders import EXAMPLES, a_bench_process, a_bench_result

FELL_BACK = DelegateReport(requested="edgetpu", actual="xnnpack", reason="no-device: none is connected")
RUNS = st.lists(st.floats(min_value=1e-4, max_value=1e4), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "middle"), [((3.0,), 3.0), ((4.0, 1.0), 2.5), ((9.0, 1.0, 2.0), 2.0), ((4, 3, 2, 1), 2.5)]
)
def test_the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle(
    values: Sequence[float], middle: float
) -> None:
    assert median(values) == middle


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [
        (1, 0.5, 1),
        (1, 0.99, 1),
        (20, 0.95, 19),
        (100, 0.99, 99),
        (150, 0.95, 143),
        (150, 0.99, 149),
        (50, 0.99, 50),
    ],
)
def test_a_quantile_is_the_value_of_the_nearest_rank(count: int, share: float, rank: int) -> None:
    assert nearest_rank([float(value) for value in range(1, count + 1)], share) == rank


@given(RUNS, st.floats(min_value=0.01, max_value=1.0))
def test_at_least_the_share_does_not_exceed_a_quantile_and_less_would_not_do(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = nearest_rank(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-6


def test_one_process_that_was_placed_badly_does_not_move_p50_and_shows_in_the_spread() -> None:
    processes = (a_bench_process(*[1.0] * 50), a_bench_process(*[1.2] * 50), a_bench_process(*[4.8] * 50))
    summary = summarise(a_bench_result(processes=processes))
    assert summary.p50_ms == 1.2
    assert summary.spread_ratio == pytest.approx(4.8)
    assert summary.runs == 150


def test_the_tail_is_of_all_runs_together() -> None:
    slow = [1.0] * 48 + [7.0, 9.0]
    processes = (a_bench_process(*slow), a_bench_process(*[1.0] * 50), a_bench_process(*[1.0] * 50))
    summary = summarise(a_bench_result(processes=processes))
    assert (summary.p50_ms, summary.p95_ms, summary.p99_ms) == (1.0, 1.0, 7.0)
    assert summary.mean_ms == pytest.approx((148 + 16) / 150)


@given(st.lists(RUNS, min_size=1, max_size=5))
def test_quantiles_rise_and_no_run_lies_outside(processes: list[list[float]]) -> None:
    summary = summarise(a_bench_result(processes=tuple(a_bench_process(*runs) for runs in processes)))
    every = [run for runs in processes for run in runs]
    assert min(every) <= summary.p50_ms
    assert summary.p95_ms <= summary.p99_ms <= max(every)
    assert min(every) * (1 - 1e-9) <= summary.mean_ms <= max(every) * (1 + 1e-9)
    assert summary.spread_ratio >= 1


@given(st.lists(st.lists(st.floats(0.1, 100), min_size=50, max_size=50), min_size=3, max_size=3))
def test_with_three_processes_of_fifty_runs_p50_never_lies_above_p95(processes: list[list[float]]) -> None:
    summary = summarise(a_bench_result(processes=tuple(a_bench_process(*runs) for runs in processes)))
    assert summary.p50_ms <= summary.p95_ms


def test_memory_and_start_are_the_middle_process_s() -> None:
    processes = tuple(a_bench_process(1.0, pss_bytes=size, start_s=size / 10) for size in (30, 10, 20))
    summary = summarise(a_bench_result(processes=processes))
    assert (summary.pss_bytes, summary.start_s) == (20, 2.0)


HEATS = (None, False, True)


@pytest.mark.parametrize("is_fallen", [False, True])
@pytest.mark.parametrize("first", HEATS)
@pytest.mark.parametrize("last", HEATS)
def test_a_bench_counts_only_on_the_wanted_delegate_and_never_throttled(
    *, is_fallen: bool, first: bool | None, last: bool | None
) -> None:
    odd: dict[str, Any] = {"delegate": FELL_BACK} if is_fallen else {}
    result = a_bench_result(
        processes=(a_bench_process(1.0), a_bench_process(1.0, **odd), a_bench_process(1.0)),
        heat=(BenchHeat(is_throttled=first), BenchHeat(is_throttled=last)),
    )
    summary = summarise(result)
    expected = [BenchFault.DELEGATE_FELL_BACK] if is_fallen else []
    expected += [BenchFault.THROTTLED] if True in {first, last} else []
    assert summary.faults == tuple(expected)
    assert summary.is_valid == (not expected) == (summary.reason == "")
    assert summary.is_throttling_known == ({first, last} != {None})
    assert summary.delegate == (FELL_BACK if is_fallen else a_bench_process(1.0).delegate)


def test_a_bench_without_a_look_at_the_board_does_not_know_whether_it_throttled() -> None:
    summary = summarise(a_bench_result(heat=()))
    assert (summary.is_valid, summary.is_throttling_known) == (True, False)


@pytest.mark.parametrize("requests", [None, 0, 7])
def test_requests_meanwhile_rule_out_nothing(requests: int | None) -> None:
    assert summarise(a_bench_result(requests_meanwhile=requests)).is_valid


def test_the_reason_says_what_was_seen() -> None:
    silent = DelegateReport(requested="npu", actual="none")
    result = a_bench_result(
        processes=(a_bench_process(1.0, delegate=FELL_BACK),),
        heat=(
            BenchHeat(is_throttled=True),
            BenchHeat(is_throttled=True, cause="the supply voltage is too low"),
        ),
    )
    assert summarise(result).reason == (
        "ran on xnnpack instead of edgetpu: no-device: none is connected; "
        "the board was throttled: the supply voltage is too low"
    )
    result = a_bench_result(
        processes=(a_bench_process(1.0, delegate=silent),), heat=(BenchHeat(is_throttled=True),)
    )
    assert summarise(result).reason == (
        "ran on none instead of npu: no reason was given; the board was throttled: the board does not say why"
    )


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("processes",), []),
        (("processes",), [a_bench_process(1.0)] * 17),
        (("processes", 0, "latencies_ms"), []),
        (("processes", 0, "latencies_ms"), [1.0] * 501),
        (("processes", 0, "latencies_ms"), [0.0]),
        (("processes", 0, "latencies_ms"), [-1.0]),
        (("processes", 0, "latencies_ms"), [1e300]),
        (("processes", 0, "pss_bytes"), -1),
        (("heat",), [{}] * 18),
        (("heat", 0, "celsius"), -300),
        (("digest",), ""),
        (("digest",), "../x"),
        (("model",), "a/b"),
        (("requests_meanwhile",), -1),
    ],
)
def test_a_bench_out_of_bounds_is_refused(place: tuple[str | int, ...], value: object) -> None:
    document: Any = msgspec.to_builtins(EXAMPLES[Kind.BENCH])
    inner = document["result"]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = msgspec.to_builtins(value)
    with pytest.raises(MessageError):
        decode_message(Bench, msgspec.json.encode(document))


def test_a_bench_in_a_year_that_cannot_be_is_refused() -> None:
    content = encode_message(EXAMPLES[Kind.BENCH]).replace(b"2026-03-01", b"9500-03-01")
    with pytest.raises(MessageError) as caught:
        decode_message(Bench, content)
    assert "is not within" in caught.value.faults[0]

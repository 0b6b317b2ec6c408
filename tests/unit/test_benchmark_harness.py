"""What benchmarks store, and that two things are timed in turns."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks import harness
from tests.benchmarks.harness import Goal, Row, at_least, at_most


@pytest.mark.parametrize(
    ("goal", "value", "is_met"),
    [
        (at_most(0.3), 0.3, True),
        (at_most(0.3), 0.31, False),
        (at_least(2), 2.0, True),
        (at_least(2), 1.9, False),
    ],
)
def test_a_goal_is_met_up_to_its_limit(goal: Goal, value: float, is_met: object) -> None:
    assert Row("x", value, "ratio", 1, goal).is_met is is_met


def test_a_stored_row_says_goal_result_samples_and_versions(tmp_path: Path) -> None:
    rows = [Row("size", 0.25, "ratio", 3, at_most(0.3), 1.0, {"numpy": "2"}), Row("time", 4.0, "s", 1)]
    path = harness.store_rows("packager", rows, tmp_path / "bench")
    assert path.name == "packager.json"
    first, second = json.loads(path.read_text())
    assert set(first) == {"name", "value", "unit", "goal", "met", "baseline", "samples", "versions"}
    assert (first["goal"], first["met"], first["baseline"]) == ("<= 0.3", True, 1.0)
    assert first["versions"]["numpy"] == "2"
    assert "python" in first["versions"]
    assert (second["goal"], second["met"]) == (None, None)


def test_two_things_are_run_in_turns_and_the_order_swaps() -> None:
    ran: list[str] = []
    first, second = harness.time_alternating(lambda: ran.append("a"), lambda: ran.append("b"), blocks=3)
    assert "".join(ran) == "abbaab"
    assert len(first) == len(second) == 3
    assert harness.median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 1.0]) == 4.0


def test_what_the_host_took_is_a_share_of_the_time_that_was_wanted(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  10 20 30 4000 5 1 2 3 0 0\ncpu0 1 2 3\n")
    before = harness.processor_ticks(tmp_path / "stat")
    assert before == [10, 20, 30, 4000, 5, 1, 2, 3]
    assert harness.stolen_share(before, [20, 30, 40, 9999, 99, 6, 7, 13]) == 0.2
    assert harness.stolen_share(before, before) == 0
    assert len(harness.processor_ticks()) == 8


def test_the_packagers_benchmarks_are_an_area() -> None:
    assert "packager" in harness.areas()


def test_blocks_of_single_calls_take_turns_and_begin_with_one_untimed() -> None:
    ran: list[str] = []
    first, second = harness.block_medians(
        lambda: ran.append("a"), lambda: ran.append("b"), blocks=3, requests=2, pause_s=1e-6
    )
    assert "".join(ran) == "aaabbb" + "bbbaaa" + "aaabbb"
    assert len(first) == len(second) == 3
    assert all(0 <= value < 1 for value in (*first, *second))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor alone")
def test_what_another_process_does_is_compared_with_the_same_on_its_processor() -> None:
    before = os.sched_getaffinity(0)
    ran: list[tuple[str, set[int], set[int]]] = []
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            harness.block_medians_on_one_processor(
                lambda: ran.append(("ask", os.sched_getaffinity(other.pid), os.sched_getaffinity(0))),
                lambda: ran.append(("alone", os.sched_getaffinity(other.pid), os.sched_getaffinity(0))),
                other.pid,
                blocks=4,
                requests=1,
            )
            assert os.sched_getaffinity(other.pid) == before
        finally:
            other.kill()

    assert "".join(who[1] for who, _, _ in ran[::2]) == "sllssll" + "s"
    assert all(len(theirs) == len(ours) == 1 for _, theirs, ours in ran)
    assert all((theirs == ours) == (who == "alone") for who, theirs, ours in ran)
    first, second = ran[0][1], ran[8][1]
    assert [theirs for _, theirs, _ in ran] == [first] * 8 + [second] * 8
    assert first != second
    assert os.sched_getaffinity(0) == before


def test_neighbouring_blocks_are_compared_with_each_other() -> None:
    assert harness.median_difference([3.0, 30.0, 12.0], [1.0, 10.0, 2.0]) == 10.0
    assert harness.median_ratio([3.0, 30.0, 12.0], [1.0, 10.0, 2.0]) == 3.0


def test_processors_are_asked_to_stay_awake_for_as_long_as_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LITEFLEET_ASLEEP", raising=False)
    (tmp_path / "latency").touch()

    with harness.kept_awake(tmp_path / "latency") as is_awake:
        assert is_awake
        assert _is_open(tmp_path / "latency")
    assert not _is_open(tmp_path / "latency")
    assert (tmp_path / "latency").read_bytes() == bytes(4)


def _is_open(path: Path) -> bool:
    return any(link.readlink() == path for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


@pytest.mark.parametrize(("asleep", "name"), [("1", "latency"), ("0", "missing")])
def test_where_processors_may_sleep_the_benchmark_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asleep: str, name: str
) -> None:
    monkeypatch.setenv("LITEFLEET_ASLEEP", asleep)
    (tmp_path / "latency").touch()

    with harness.kept_awake(tmp_path / name) as is_awake:
        assert not is_awake
    assert (tmp_path / "latency").read_bytes() == b""

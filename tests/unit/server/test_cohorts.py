from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ManifestError
from server.rollout.cohorts import check_shares, divide_devices


@pytest.mark.parametrize(
    ("devices", "shares", "sizes"),
    [
        (1, [1.0], [1]),
        (5, [0.4, 1.0], [2, 3]),
        (5, [0.01, 1.0], [1, 4]),
        (10, [0.1, 0.5, 1.0], [1, 4, 5]),
        (30, [0.1, 1.0], [3, 27]),
        (2, [0.1, 0.2, 1.0], [1, 0, 1]),
        (1, [0.1, 1.0], [1, 0]),
    ],
)
def test_phases_hold_their_share_rounded_up(devices: int, shares: list[float], sizes: list[int]) -> None:
    phases = divide_devices("r", [f"d{index}" for index in range(devices)], shares)
    assert [len(phase) for phase in phases] == sizes


def test_the_order_is_that_of_the_digest() -> None:
    names = ["a", "b", "c", "d"]
    (phase,) = divide_devices("rollout", names, [1.0])
    assert list(phase) == sorted(names, key=lambda name: hashlib.sha256(b"rollout" + name.encode()).digest())


def test_another_rollout_has_another_canary() -> None:
    names = [f"d{index}" for index in range(20)]
    canaries = {divide_devices(f"r{index}", names, [0.05, 1.0])[0] for index in range(20)}
    assert len(canaries) > 5


@given(
    devices=st.sets(st.text(min_size=1), min_size=1, max_size=60),
    cuts=st.sets(st.floats(0.001, 0.999), max_size=5),
)
def test_every_device_is_in_exactly_one_phase(devices: set[str], cuts: set[float]) -> None:
    shares = [*sorted(cuts), 1.0]
    check_shares(shares)
    phases = divide_devices("r", devices, shares)
    assert sorted(device for phase in phases for device in phase) == sorted(devices)
    assert len(phases) == len(shares)
    assert phases[0]


@pytest.mark.parametrize(
    ("shares", "fault"),
    [
        ([], "0 phases"),
        ([0.01 * index for index in range(1, 40)] + [1.0], "40 phases"),
        ([0.0, 1.0], "above 0"),
        ([0.5, 1.5], "at most 1"),
        ([float("nan"), 1.0], "above 0"),
        ([0.5, 0.4, 1.0], "cumulative"),
        ([0.5, 0.5, 1.0], "cumulative"),
        ([0.5], "the last share must be 1"),
    ],
)
def test_shares_that_are_not_usable_are_refused(shares: list[float], fault: str) -> None:
    with pytest.raises(ManifestError) as refused:
        check_shares(shares)
    assert fault in refused.value.summary()

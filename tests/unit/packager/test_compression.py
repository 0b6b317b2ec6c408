from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ConfigError
from packager.compression.download import download_of
from packager.compression.plan import (
    CLUSTER_GRID,
    CLUSTERS_LEAST,
    CLUSTERS_MOST,
    PRUNE_GRID,
    Compression,
    Wanted,
    parse_wanted,
)
from packager.compression.search import harshest
from packager.sources.converters.shrink import Weights, cluster, find_centres, prune


def drawn(*shape: int, seed: int = 1) -> Weights:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# What may be asked for


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (("", ""), Wanted()),
        (("0.5", "16"), Wanted(0.5, 16)),
        (("auto", "auto"), Wanted(None, None)),
        ((".01", "4"), Wanted(0.01, 4)),
        (("", "255"), Wanted(0.0, 255)),
    ],
)
def test_a_share_a_number_or_auto_is_read(texts: tuple[str, str], wanted: Wanted) -> None:
    assert parse_wanted(*texts) == wanted
    assert wanted.is_none == (texts == ("", ""))


@pytest.mark.parametrize("text", ["0", "1", "-0.5", "50%", "nan", "inf", "half", "1.5"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no share to prune"):
        parse_wanted(text, "")


@pytest.mark.parametrize("text", ["3", "256", "16.0", "-16", "many", "²"])
def test_what_is_no_number_of_clusters_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no number of clusters"):
        parse_wanted("", text)


def test_a_compression_says_what_it_does() -> None:
    assert Compression(0.5, 16).describe() == "50% of the weights pruned, weights in 16 clusters"
    assert Compression().describe() == "nothing"
    assert Compression().is_none
    assert not Compression(clusters=4).is_none
    assert not Compression(prune=0.1).is_none


def test_the_grids_go_from_gentle_to_harsh_within_what_may_be_asked() -> None:
    assert list(PRUNE_GRID) == sorted(set(PRUNE_GRID))
    assert list(CLUSTER_GRID) == sorted(set(CLUSTER_GRID), reverse=True)
    assert 0 < PRUNE_GRID[0] < PRUNE_GRID[-1] < 1
    assert CLUSTERS_MOST >= CLUSTER_GRID[0] > CLUSTER_GRID[-1] >= CLUSTERS_LEAST


# Searching


@pytest.mark.parametrize("passing", range(20))
def test_bisection_finds_the_harshest_setting_that_passes_in_five_measurements(passing: int) -> None:
    tried: list[int] = []

    def passes(setting: int) -> bool:
        tried.append(setting)
        return setting < passing

    found = harshest(range(19), passes)
    assert found == (passing - 1 if passing else None)
    assert len(tried) <= 5
    assert len(tried) == len(set(tried))


# Pruning


def test_pruning_takes_exactly_the_smallest_magnitudes() -> None:
    weights = np.array([[3, -1, 2], [-4, 0.5, -6]], dtype=np.float32)
    assert prune(weights, 0.5).tolist() == [[3, 0, 0], [-4, 0, -6]]
    assert weights[0, 1] == -1


def test_of_equal_magnitudes_the_first_go() -> None:
    assert prune(np.array([1, -1, 1, -1], dtype=np.float32), 0.5).tolist() == [0, 0, 1, -1]


@given(share=st.floats(0, 1), seed=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_pruning_twice_is_pruning_once_and_the_share_is_exact(share: float, seed: int) -> None:
    weights = drawn(7, 11, seed=seed)
    once = prune(weights, share)
    assert np.array_equal(prune(once, share), once)
    assert int((once == 0).sum()) == round(share * weights.size)


# Clustering


@pytest.mark.parametrize("count", [4, 5, 6, 7, 16, 255])
def test_every_channel_keeps_its_largest_weight_and_zeros_stay_zero(count: int) -> None:
    weights = prune(drawn(8, 3, 3, 5) * np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1), 0.4)
    found = cluster(weights, count)
    made = found.weights()
    assert len(found.centres) == count if count < 200 else count > len(found.centres) > 200
    assert np.array_equal(np.abs(made).max(axis=(1, 2, 3)), np.abs(weights).max(axis=(1, 2, 3)))
    assert (made[weights == 0] == 0).all()
    assert (np.diff(found.centres) > 0).all()
    assert {-1.0, 0.0, 1.0} <= set(found.centres.tolist())


@pytest.mark.parametrize("count", [4, 16, 100])
def test_int8_of_every_channel_has_no_more_values_than_clusters(count: int) -> None:
    weights = drawn(64, 200) * np.random.default_rng(2).random((64, 1), dtype=np.float32)

    def stored(values: Weights) -> int:
        scale = np.abs(values).max(axis=1, keepdims=True) / 127
        return len(np.unique(np.rint(values / scale)))

    assert stored(weights) > 200
    assert stored(cluster(weights, count).weights()) <= count


def test_a_channel_of_zeros_stays_one() -> None:
    weights = drawn(4, 10)
    weights[2] = 0
    assert (cluster(weights, 8).weights()[2] == 0).all()
    assert (cluster(np.zeros((2, 3), dtype=np.float32), 8).weights() == 0).all()


def test_more_clusters_come_nearer() -> None:
    weights = drawn(32, 50)
    errors = [float(np.square(cluster(weights, count).weights() - weights).sum()) for count in (4, 8, 16, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 50


def test_clusters_have_less_error_than_the_same_number_of_even_steps() -> None:
    weights = drawn(16, 400)
    scales = np.abs(weights).max(axis=1, keepdims=True)
    even = np.rint(weights / scales * 7) / 7 * scales  # 15 values
    by_means = cluster(weights, 15).weights()
    assert np.square(by_means - weights).sum() < 0.9 * np.square(even - weights).sum()


def test_free_centres_are_the_weighted_means_of_what_is_nearest() -> None:
    generator = np.random.default_rng(3)
    shares, masses = generator.uniform(-1, 1, 500), generator.uniform(0.1, 2, 500)
    centres = find_centres(shares, masses, 9)
    members = np.searchsorted((centres[1:] + centres[:-1]) / 2, shares, side="right")
    for number in set(range(9)) - {0, 4, 8}:
        mine = members == number
        assert centres[number] == pytest.approx(np.average(shares[mine], weights=masses[mine]), abs=1e-9)


def test_clustering_twice_is_clustering_once_also_when_channels_were_scaled_in_between() -> None:
    once = cluster(drawn(32, 64), 16).weights()
    scaled = once * np.random.default_rng(5).uniform(0.1, 3, (32, 1)).astype(np.float32)
    np.testing.assert_allclose(cluster(once, 16).weights(), once, rtol=1e-5)
    np.testing.assert_allclose(cluster(scaled, 16).weights(), scaled, rtol=1e-5)


def test_centres_are_given_back_after_the_most_steps() -> None:
    shares = np.random.default_rng(6).uniform(-1, 1, 500)
    first, last = (find_centres(shares, np.ones(500), 16, steps) for steps in (1, 300))
    assert len(first) == len(last) == 16
    assert not np.array_equal(first, last)


def test_clustering_does_not_depend_on_the_order_of_equal_runs() -> None:
    weights = drawn(8, 40)
    assert np.array_equal(cluster(weights, 16).weights(), cluster(weights.copy(), 16).weights())
    assert cluster(weights, 16).weights().dtype == np.float32


# Bytes


def test_what_travels_is_measured_of_the_bytes_themselves() -> None:
    noise = np.random.default_rng(4).bytes(20_000)
    even = download_of(bytes(20_000))
    rough = download_of(noise)
    assert even.plain_bytes == rough.plain_bytes == 20_000
    assert even.zlib_bytes < 100
    assert even.lzma_bytes < 250
    assert rough.zlib_bytes > 19_900
    assert download_of(noise) == rough

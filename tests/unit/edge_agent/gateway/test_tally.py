"""Counts of requests."""

from __future__ import annotations

from edge_agent.gateway.tally import ModelTally


def test_counts_of_two_places_are_one_statistic() -> None:
    one, other = ModelTally(), ModelTally()
    one.count_answer(0.5, 20.0)
    one.count_failure(0.25, is_overload=True)
    other.count_answer(1.5, 10.0)
    other.count_failure(0.5, is_overload=False)

    assert (one + other).as_statistics("digits", "1.0.0") == {
        "name": "digits",
        "version": "1.0.0",
        "last_inference": 20_000,
        "inference_count": 2,
        "execution_count": 2,
        "inference_stats": {
            "success": {"count": 2, "ns": 2_000_000_000},
            "fail": {"count": 2, "ns": 750_000_000},
        },
        "refused": 1,
    }
    assert one + ModelTally() == one

"""Delegate coverage as people and programs read it."""

from __future__ import annotations

from typing import Any

from packager.coverage.coverage import Count, Coverage, LeftOut, Memory, Predictions
from packager.coverage_text import coverage_json, coverage_lines


def coverage(**changes: Any) -> Coverage:
    left = [LeftOut(node=n, operator="PACK", rule="operator", detail="none") for n in (1, 2)]
    sound: dict[str, Any] = {
        "delegate": "xnnpack",
        "nodes_total": 5,
        "nodes_delegated": 3,
        "partitions": 2,
        "left_out": (*left, LeftOut(node=0, operator="ADD", rule="type", detail="a is int32")),
        "source": "s",
    }
    return Coverage(**(sound | changes))


def test_kinds_of_reasons_stand_together_most_first() -> None:
    assert coverage().reasons() == ["2 x PACK: none (operator)", "1 x ADD: a is int32 (type)"]
    assert (coverage().share, coverage().describe()) == (0.6, "3/5 in 2")


def test_both_delegates_are_shown_with_what_was_counted() -> None:
    tpu = coverage(delegate="edgetpu", left_out=(), memory=Memory(on_chip_bytes=5000, off_chip_bytes=0))
    found = Predictions(xnnpack=coverage(), edgetpu=tpu, is_compiled=True)
    lines = list(
        coverage_lines("m", found, Count(nodes_total=5, nodes_delegated=3, partitions=2), ["xnnpack"])
    )
    assert lines == [
        "m is compiled for the Edge TPU: it needs that delegate to run",
        "xnnpack: 3 of 5 operators in 2 parts",
        "  counted here: 3 of 5 operators in 2",
        "  left out: 2 x PACK: none (operator)",
        "  left out: 1 x ADD: a is int32 (type)",
    ]
    assert list(coverage_lines("m", found, None, ["edgetpu"]))[1:] == [
        "edgetpu: 3 of 5 operators; 5,000 bytes of parameters on the chip, 0 streamed"
    ]
    assert list(coverage_lines("m", found, None, ["xnnpack"]))[2].startswith("  left out")
    bare = Predictions(xnnpack=coverage(), edgetpu=coverage(left_out=()), is_compiled=False)
    assert list(coverage_lines("m", bare, None, ["edgetpu"])) == []
    refusal = list(coverage_lines("m", found, Count(refused="no"), ["xnnpack"]))
    assert refusal[2] == "  counted here: nothing, no"
    assert coverage_json("m", found, Count(refused="no"), ["edgetpu"])["counted"] == {"refused": "no"}

"""Delegate coverage of a file as lines and as JSON.

PURE. Rules:

1. A delegate's first line says how much it takes; every kind of node that is left out has a line with its reason.
2. What was counted stands beside what was predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from packager.coverage.coverage import Count, Coverage, Predictions


def coverage_lines(
    name: str, predictions: Predictions, count: Count | None, delegates: Sequence[str]
) -> Iterator[str]:
    """The coverage for people.

    Args:
        name: The file's.
        predictions: For both delegates.
        count: What XNNPACK took here; None when it was not asked for.
        delegates: Which to show.
    """
    if predictions.is_compiled:
        yield f"{name} is compiled for the Edge TPU: it needs that delegate to run"
    for delegate in delegates:
        found: Coverage = getattr(predictions, delegate)
        text = f"{delegate}: {found.nodes_delegated} of {found.nodes_total} operators"
        if delegate == "xnnpack":
            yield f"{text} in {found.partitions} {'part' if found.partitions == 1 else 'parts'}"
            if count is not None:
                yield f"  counted here: {_counted(count)}"
        elif found.memory is not None:
            yield (
                f"{text}; {found.memory.on_chip_bytes:,} bytes of parameters on the chip, "
                f"{found.memory.off_chip_bytes:,} streamed"
            )
        yield from (f"  left out: {reason}" for reason in found.reasons())


def _counted(count: Count) -> str:
    if count.refused:
        return f"nothing, {count.refused}"
    return f"{count.nodes_delegated} of {count.nodes_total} operators in {count.partitions}"


def coverage_json(
    name: str, predictions: Predictions, count: Count | None, delegates: Sequence[str]
) -> dict[str, object]:
    """The coverage for programs; arguments as ``coverage_lines``."""
    found: dict[str, object] = {"model": name, "is_compiled": predictions.is_compiled}
    for delegate in delegates:
        found[delegate] = msgspec.to_builtins(getattr(predictions, delegate))
    if count is not None:
        found["counted"] = msgspec.to_builtins(count)
    return found

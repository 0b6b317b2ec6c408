"""Functions that tests configure as a source's callback."""

from __future__ import annotations

from typing import Any

_calls: list[dict[str, Any]] = []


def fail_every_other(result: dict[str, Any]) -> None:
    """Print, and raise with every second answer."""
    _calls.append(result)
    if len(_calls) == 1:
        print("printed", flush=True)  # noqa: T201 - a user's function may
    if len(_calls) % 2 == 0:
        raise ValueError(f"no {result['classes'][0]['label']}")

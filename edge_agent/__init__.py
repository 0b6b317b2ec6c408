"""The part of litefleet that runs on a device, and the SDK for applications beside it.

``from edge_agent import connect`` is all that an application needs. Importing this package loads nothing else: numpy
comes with the first use of ``connect``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_agent.inference.client import connect

__all__ = ["connect"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from edge_agent.inference.client import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

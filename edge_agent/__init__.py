"""The part of litefleet that runs on a device, and the SDK for applications beside it.

``from edge_agent import connect`` is all that an application needs, or ``connect_async`` for one that uses asyncio.
Importing this package loads nothing else: numpy comes with the first use of either.
"""

from __future__ import annotations

# The name alone tells type checkers; importing ``typing`` is a fifth of a worker's way to its first line.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from edge_agent.inference.async_client import connect_async
    from edge_agent.inference.client import connect

__all__ = ["connect", "connect_async"]


def __getattr__(name: str) -> Any:
    if name == "connect":
        from edge_agent.inference.client import connect

        return connect
    if name == "connect_async":
        from edge_agent.inference.async_client import connect_async

        return connect_async
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

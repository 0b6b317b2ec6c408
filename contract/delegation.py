"""Which delegate runs a model: asked for, got, and how much of the graph it took.

PURE. Rules:

1. ``actual`` is what the interpreter shows, never what was asked for; ``none`` where it shows nothing.
2. A delegate that took no node did not run: that is a fall-back, and says its reason.
"""

from __future__ import annotations

import msgspec

from contract.scalars import Count, Name, Text


class DelegateReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Delegate asked for, and the one that runs.

    Attributes:
        requested: ``xnnpack``, ``edgetpu``, ``none``, or the name that the agent's configuration gives a delegate.
        actual: The one that runs; ``none`` for the runtime's own kernels.
        nodes_total: Nodes of the graph.
        nodes_delegated: How many of them the delegate took.
        partitions: In how many pieces; every border between pieces costs a copy.
        reason: Why the actual one is not the one requested; empty when it is.
    """

    requested: Name
    actual: Name
    nodes_total: Count = 0
    nodes_delegated: Count = 0
    partitions: Count = 0
    reason: Text = ""

    @property
    def is_fallback(self) -> bool:
        """Whether something else runs than was asked for."""
        return self.actual != self.requested

"""How much of a model a delegate takes, and why it does not take the rest.

PURE. Rules:

1. Every node that is left out has a reason: a rule of ``packager.coverage.rules`` and what breaks it.
"""

from __future__ import annotations

from collections import Counter

import msgspec


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A node that runs without the delegate.

    Attributes:
        node: Position in the graph.
        operator: TFLite's name.
        rule: Code of the rule that it breaks.
        detail: What breaks it.
    """

    node: int
    operator: str
    rule: str
    detail: str


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Where an Edge TPU finds a model's parameters.

    Attributes:
        on_chip_bytes: Cached on the chip, sent once.
        off_chip_bytes: Sent again for every inference.
    """

    on_chip_bytes: int
    off_chip_bytes: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a delegate takes of a graph.

    Attributes:
        delegate: ``xnnpack`` or ``edgetpu``.
        nodes_total: Nodes of the main graph.
        nodes_delegated: Of these, on the delegate.
        partitions: In how many parts.
        left_out: The others, in the graph's order.
        source: What the prediction repeats.
        memory: Only for the Edge TPU.
    """

    delegate: str
    nodes_total: int
    nodes_delegated: int
    partitions: int
    left_out: tuple[LeftOut, ...]
    source: str
    memory: Memory | None = None

    @property
    def share(self) -> float:
        """Share of the nodes that the delegate takes, 0 to 1; 1 for a graph without nodes."""
        return self.nodes_delegated / self.nodes_total if self.nodes_total else 1.0

    def describe(self) -> str:
        """The coverage in a few words, for a column of a table."""
        text = f"{self.nodes_delegated}/{self.nodes_total}"
        return f"{text} in {self.partitions}" if self.partitions > 1 else text

    def reasons(self) -> list[str]:
        """Why nodes are left out, those that share operator and rule together, most first."""
        found = Counter((one.operator, one.rule, one.detail) for one in self.left_out)
        kinds: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for (operator, rule, detail), times in found.items():
            kinds.setdefault((operator, rule), []).append((detail, times))
        rows = sorted(kinds.items(), key=lambda row: -sum(times for _, times in row[1]))
        return [
            f"{sum(times for _, times in details)} x {operator}: {details[0][0]} ({rule})"
            for (operator, rule), details in rows
        ]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """What the delegates would take of a model; ``is_compiled`` when it is one for the Edge TPU already."""

    xnnpack: Coverage
    edgetpu: Coverage
    is_compiled: bool


class Count(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What XNNPACK really took on this machine, or why the runtime refused the model."""

    nodes_total: int = 0
    nodes_delegated: int = 0
    partitions: int = 0
    refused: str = ""

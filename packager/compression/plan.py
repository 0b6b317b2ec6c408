"""What a user may ask of compression, and what of a model it touches.

PURE. Rules:

1. A share to prune is above 0 and below 1; a number of clusters is from ``CLUSTERS_LEAST`` to ``CLUSTERS_MOST``, which
   is all that int8 can tell apart. ``auto`` is searched for on a fixed grid.
2. Touched are the weights of CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED, whose first axis is the output channel in
   TFLite's schema. Depthwise filters, biases and tables are not: they are few bytes, and one weight of a depthwise
   filter is a ninth of all that a channel sees.
3. Weights of fewer than ``ELEMENTS_LEAST`` elements stay as they are: all of them together are a few kilobytes, and the
   first layer, from which all others live, is among them in most nets for small boards.
4. Constants that anything else reads too stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.errors import ConfigError

AUTO = "auto"
CLUSTERS_LEAST = 4
"""-1, 0 and 1 of every channel's largest weight, and one more (see ``packager.sources.converters.shrink``)."""
CLUSTERS_MOST = 255
"""What symmetric int8 tells apart."""
ELEMENTS_LEAST = 1024
WEIGHT_INPUTS = {"CONV_2D": 1, "TRANSPOSE_CONV": 1, "FULLY_CONNECTED": 1}
"""Operator to the position of its weights among its inputs."""
PRUNE_GRID = tuple(step / 20 for step in range(1, 20))
"""5 % to 95 %: five measurements find the place among 19."""
CLUSTER_GRID = (128, 64, 48, 32, 24, 16, 12, 8, 6, 4)
"""From gentle to harsh: each step saves a third to half a bit a weight."""


@dataclass(frozen=True)
class Compression:
    """What is done to the weights.

    Attributes:
        prune: Share of every tensor's weights that become 0; 0 for none.
        clusters: How many values every tensor's weights have, as shares of their channel's largest; 0 for no limit.
    """

    prune: float = 0.0
    clusters: int = 0

    @property
    def is_none(self) -> bool:
        """Whether nothing is done."""
        return not self.prune and not self.clusters

    def describe(self) -> str:
        """In words."""
        made = [f"{self.prune:.0%} of the weights pruned"] if self.prune else []
        made += [f"weights in {self.clusters} clusters"] if self.clusters else []
        return ", ".join(made) or "nothing"


@dataclass(frozen=True)
class Wanted:
    """What a user asks for; None stands for ``auto``.

    Attributes:
        prune: As in ``Compression``.
        clusters: As in ``Compression``.
    """

    prune: float | None = 0.0
    clusters: int | None = 0

    @property
    def is_none(self) -> bool:
        """Whether nothing is asked for."""
        return self.prune == 0 and self.clusters == 0


def parse_wanted(prune: str, clusters: str) -> Wanted:
    """Read ``0.5`` or ``auto``, and ``32`` or ``auto``; empty for none.

    Raises:
        ConfigError: One is neither.
    """
    return Wanted(
        None if prune == AUTO else parse_share(prune) if prune else 0.0,
        None if clusters == AUTO else parse_clusters(clusters) if clusters else 0,
    )


def parse_share(text: str) -> float:
    """Read a share to prune.

    Raises:
        ConfigError: It is none.
    """
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(
            f"{text!r} is no share to prune", remedy="write 0.5 for half of the weights; above 0 and below 1"
        )
    return share


def parse_clusters(text: str) -> int:
    """Read a number of clusters.

    Raises:
        ConfigError: It is none.
    """
    clusters = int(text) if text.isascii() and text.isdecimal() else 0
    if not CLUSTERS_LEAST <= clusters <= CLUSTERS_MOST:
        raise ConfigError(
            f"{text!r} is no number of clusters",
            remedy=f"write a whole number from {CLUSTERS_LEAST} to {CLUSTERS_MOST}; 16 and 32 are usual",
        )
    return clusters

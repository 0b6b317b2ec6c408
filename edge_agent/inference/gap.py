"""What a model's symlink says between two versions, where memory holds one at a time and the next is not there yet.

PURE. Rules:

1. Applications learn of it where they look anyway, as with ``breaker``: the symlink leads to no worker. They wait for
   the next one until their deadline, and who waited in vain is told why.
2. It says nothing of when the gap ends: the next version is loaded and tested first, or the old one comes back.
"""

from __future__ import annotations

GAP = "between-versions"
"""What the symlink points to, in place of a worker's socket."""


def is_gap(target: str) -> bool:
    """Whether a symlink's target says that its model is between two versions."""
    return target.rpartition("/")[2] == GAP

"""The processes that feed configured sources to the models: one child each.

Guarantees: those of ``edge_agent.children``. Knows nothing of images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent.children import Children
from edge_agent.config import Source

MODULE = "edge_agent.inference.sources"


class SourceProcesses(Children):
    """All sources of the configuration.

    Args:
        sources: Which.
        run_dir: Where the models are reached.
    """

    def __init__(self, sources: Sequence[Source], run_dir: Path) -> None:
        super().__init__((f"source of {source.model}", source_command(source, run_dir)) for source in sources)


def source_command(source: Source, run_dir: Path) -> tuple[str, ...]:
    """How a source's process is started."""
    return (
        sys.executable,
        "-m",
        MODULE,
        "--run-dir",
        str(run_dir),
        "--model",
        source.model,
        "--folder",
        str(source.path),
        "--rate-hz",
        str(source.rate_hz),
    )

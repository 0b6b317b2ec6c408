"""The pipelines and ensembles as the agent's main process sees them: a child that runs while there are any.

Guarantees: those of ``edge_agent.children``, and what they refuse is told. Knows nothing of models.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from edge_agent.overload_pipe import RefusingChild
from edge_agent.pipelines.settings import CombinedSettings

MODULE = "edge_agent.pipelines"


class PipelineProcess(RefusingChild):
    """All pipelines and ensembles in one process, or nothing where there are none.

    Args:
        settings: Of each.
        run_dir: Where the models are reached, and the pipelines too.
    """

    def __init__(self, settings: CombinedSettings, run_dir: Path) -> None:
        super().__init__("pipelines", pipeline_command(settings, run_dir) if settings.names else None)


def pipeline_command(settings: CombinedSettings, run_dir: Path) -> tuple[str, ...]:
    """How the pipelines' process is started."""
    text = msgspec.json.encode(settings).decode()
    return (sys.executable, "-m", MODULE, "--run-dir", str(run_dir), "--settings", text)

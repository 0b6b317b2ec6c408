"""The gateway as the agent's main process sees it: a child that runs while the configuration wants one.

Guarantees: those of ``edge_agent.children``, and what it refuses is told. Knows nothing of HTTP.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from edge_agent.gateway.settings import GatewaySettings
from edge_agent.overload_pipe import RefusingChild

MODULE = "edge_agent.gateway"


class GatewayProcess(RefusingChild):
    """The gateway, or nothing where it is not enabled.

    Args:
        settings: Of the gateway.
        run_dir: Where the models are reached.
    """

    def __init__(self, settings: GatewaySettings, run_dir: Path) -> None:
        super().__init__("gateway", gateway_command(settings, run_dir) if settings.enabled else None)


def gateway_command(settings: GatewaySettings, run_dir: Path) -> tuple[str, ...]:
    """How the gateway's process is started."""
    text = msgspec.json.encode(settings).decode()
    return (sys.executable, "-m", MODULE, "--run-dir", str(run_dir), "--settings", text)

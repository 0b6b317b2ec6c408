"""Starting a worker that is to answer at once, untested: one of a version that has answered before."""

from __future__ import annotations

from pathlib import Path

from contract.errors import DeviceError, RejectedError
from edge_agent.update.doors import Workers


def start_active(workers: Workers, model: str, version: str, slot_dir: Path) -> None:
    """Start a worker and let requests go to it; one that cannot answer is not left running.

    Raises:
        DeviceError: It could not load the model, died, or cannot be reached.
        RejectedError: The slot is damaged.
    """
    worker = workers.start(model, version, slot_dir)
    try:
        workers.activate(worker)
    except (DeviceError, RejectedError):
        workers.discard(worker)
        raise

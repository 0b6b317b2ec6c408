"""What a device runs, read from its state folder without asking the agent.

Guarantees: changes nothing; works beside a running agent and without one.
"""

from __future__ import annotations

import msgspec

from contract.deployment import Reason, State
from contract.errors import StorageError
from edge_agent.config import AgentConfig
from edge_agent.files import lock_holder
from edge_agent.update.journal import Journal
from edge_agent.update.slots import read_slot_table


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One model: what its active slot holds, the other good version, and its last deployment.

    Attributes:
        model: Name.
        version: Of the active slot; empty when none is.
        variant: Of the active slot.
        is_good: Whether a deployment of that version has succeeded.
        fallback: The other slot's version when it is good; else empty.
        deployment: Id of the last deployment; empty when there is none.
        state: Its state.
        reason: Its reason, when it failed or rolls back.
        detail: For people.
        fault: What of the model's files cannot be read; empty when nothing.
    """

    model: str
    version: str = ""
    variant: str = ""
    is_good: bool = False
    fallback: str = ""
    deployment: str = ""
    state: State | None = None
    reason: Reason | None = None
    detail: str = ""
    fault: str = ""


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The device: its id and profile, the agent's process id (None: it does not run), desired revision, models."""

    device: str
    profile: str
    agent_pid: int | None
    revision: int
    models: tuple[ModelStatus, ...]


def read_status(config: AgentConfig) -> DeviceStatus:
    """Look at the state folder.

    Raises:
        StorageError: It cannot be read.
    """
    state_dir = config.device.state_dir
    journal = Journal(state_dir / "models", state_dir)
    desired = journal.read_desired()
    return DeviceStatus(
        device=config.device.id,
        profile=config.device.profile,
        agent_pid=lock_holder(state_dir),
        revision=desired.revision if desired else 0,
        models=tuple(_model_status(config, journal, model) for model in journal.models()),
    )


def _model_status(config: AgentConfig, journal: Journal, model: str) -> ModelStatus:
    try:
        table = read_slot_table(config.device.state_dir / "models" / model)
        record = journal.peek(model)
    except StorageError as error:
        return ModelStatus(model=model, fault=error.summary())
    other = table.slot(table.inactive)
    return ModelStatus(
        model=model,
        version=table.running.version,
        variant=table.running.variant,
        is_good=table.running.good,
        fallback=other.version if other.good else "",
        deployment=record.deployment if record else "",
        state=record.state if record else None,
        reason=record.reason if record else None,
        detail=record.detail if record else "",
    )


def show_status(status: DeviceStatus) -> str:
    """The status for people."""
    running = f"running as process {status.agent_pid}" if status.agent_pid else "not running"
    lines = [
        f"device {status.device} (profile {status.profile}), agent {running}, desired revision {status.revision}"
    ]
    for model in status.models:
        if model.fault:
            lines.append(f"  {model.model}: {model.fault}")
            continue
        version = f"{model.version} ({model.variant})" if model.version else "nothing"
        parts = [f"  {model.model}: {version}"]
        if model.version and not model.is_good:
            parts.append("not kept yet")
        if model.fallback:
            parts.append(f"fallback {model.fallback}")
        if model.state is not None:
            why = f" ({model.reason.value}: {model.detail})" if model.reason else ""
            parts.append(f"deployment {model.deployment} {model.state.value}{why}")
        lines.append(", ".join(parts))
    return "\n".join(lines)

"""``litefleet-agent bench``: from a configuration to a bench that is told and kept for the server.

Guarantees: one bench at a time per device; of what the agent stores nothing is changed but the waiting benches; one
that is kept reaches the server, now through the running agent or at its next start.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from contract.bench import PROCESSES, TIMED_RUNS, WARM_UP_RUNS, Bench
from contract.errors import AccessError, ConfigError, NotFoundError
from contract.identifiers import nearest
from contract.messages import WIRE_VERSION
from contract.profile import Profile
from edge_agent.bench.heat import SensorWatch
from edge_agent.bench.measuring import BenchPlan, check_room, measure
from edge_agent.bench.waiting import WaitingBenches
from edge_agent.bench.worker_runs import Patience, WorkerRun
from edge_agent.board_engine import BoardEngine
from edge_agent.config import AgentConfig
from edge_agent.files import lock_holder, storage_errors
from edge_agent.heat.board import sensors_of
from edge_agent.heat.settings import limits_of
from edge_agent.inference.control import Measure
from edge_agent.thread_tuning import ThreadTuning
from edge_agent.update.journal import Journal
from edge_agent.update.slots import read_slot_table
from firmware_profiles import load_profile

RUNS_S = 1800.0
"""Longest time of a process's runs: 60 runs of a model that takes half a minute."""


@dataclass(frozen=True)
class Kept:
    """What becomes of a bench: kept for the server or not, and who will send it (None: the agent's next start)."""

    is_kept: bool
    agent_pid: int | None


def run_bench(
    config: AgentConfig,
    model: str | None,
    *,
    is_sent: bool,
    on_process: Callable[[int, WorkerRun], None],
) -> tuple[Bench, Kept]:
    """Measure a model that is installed on this device.

    Args:
        config: The agent's.
        model: Its name; None for the only one.
        is_sent: Whether the server is to know.
        on_process: Told after each process, with its number from 1.

    Raises:
        ConfigError: Several models are installed and none is named, or the profile is not known.
        NotFoundError: No such model is installed.
        AccessError: Another user's agent owns the state folder.
        ConflictError: Another bench runs.
        LitefleetError: The model could not be run.
    """
    _check_user(config)
    chosen = choose_model(config, model)
    waiting = WaitingBenches(config.device.state_dir)
    with waiting.alone():
        began = datetime.now(timezone.utc)
        profile = load_profile(config.device.profile)
        plan = _plan(config, profile, chosen)
        check_room(plan.spec)
        result = measure(plan, _heat_watch(config, profile), on_process)
        bench = Bench(v=WIRE_VERSION, id=_new_id(), at=began, result=result)
        if is_sent:
            waiting.add(bench)
    return bench, Kept(is_sent, lock_holder(config.device.state_dir))


def choose_model(config: AgentConfig, model: str | None) -> str:
    """The model to measure.

    Raises:
        NotFoundError: It is not installed, or none is.
        ConfigError: Several are, and none is named.
        StorageError: The state folder cannot be read.
    """
    state_dir = config.device.state_dir
    folders = state_dir / "models"
    names = Journal(folders, state_dir).models()
    installed = [name for name in names if read_slot_table(folders / name).active]
    if model is None and len(installed) == 1:
        return installed[0]
    if model is None and installed:
        raise ConfigError(f"several models are installed: {', '.join(installed)}", remedy="name one of them")
    if model is None:
        raise NotFoundError("no model is installed on this device", remedy="roll one out to it first")
    if model not in installed:
        hint = nearest(model, installed) if installed else "no model is installed"
        raise NotFoundError(f"model {model[:80]!r} is not installed on this device, {hint}")
    return model


def _heat_watch(config: AgentConfig, profile: Profile) -> SensorWatch:
    sensors = sensors_of(config.heat, profile.thermal)
    return SensorWatch(sensors.read, limits_of(config.heat, profile.thermal).soft_celsius)


def _plan(config: AgentConfig, profile: Profile, model: str) -> BenchPlan:
    board = BoardEngine(
        profile,
        config.delegates,
        config.device.state_dir,
        has_weight_cache=config.workers.weight_cache,
    )
    board.look(lambda: False)
    folder = config.device.state_dir / "models" / model
    table = read_slot_table(folder)
    tuning = ThreadTuning(config.workers, profile.threads, config.device.state_dir, board.facts)
    spec = tuning.spec(
        model,
        table.running.version,
        folder / table.active,
        engine=board.engine(),
        start_timeout_s=config.update.start_timeout_s,
    )
    return BenchPlan(
        spec=dataclasses.replace(spec, tuning=None),  # what the agent found out, and nothing new
        profile=profile.id,
        run_dir=config.device.run_dir,
        processes=PROCESSES,
        order=Measure(warm_up_runs=WARM_UP_RUNS, timed_runs=TIMED_RUNS),
        patience=Patience(config.update.start_timeout_s, RUNS_S),
    )


def _check_user(config: AgentConfig) -> None:
    """Measure with the agent's rights, and leave no file that it could not read."""
    folder = config.device.state_dir
    with storage_errors(f"look at {folder}"):
        owner = folder.stat().st_uid if folder.exists() else None
    if owner is None:
        raise NotFoundError(
            f"no agent has run with this configuration: there is no {folder}",
            remedy="start litefleet-agent run, and roll a model out to this device",
        )
    if owner != os.geteuid():
        raise AccessError(
            f"{folder} belongs to user {owner}, and this is user {os.geteuid()}",
            remedy=f"run it as the agent's user: sudo -u '#{owner}' litefleet-agent bench ...",
        )


def _new_id() -> str:
    """Sorts by time, and is the only one of its kind: milliseconds since 1970 and eight random digits, hexadecimal."""
    return f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(4)}"

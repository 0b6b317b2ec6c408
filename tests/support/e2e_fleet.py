"""A whole fleet of real processes: server, broker, agents, and the commands that its people type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.agent_process import AgentProcess
from tests.support.server_process import ServerProcess, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "digits"
PROFILE = "generic-x86-64"


def run_command(name: str, *words: str | Path, accepted: int = 0) -> str:
    """Run a litefleet command as its user does; what it printed to standard output, or error when it refused."""
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == accepted, (
        f"{name} {words} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout if accepted == 0 else done.stderr


def pack(version: str, output: Path, profile: str = PROFILE) -> Path:
    """Pack a version of the digits example for one profile; the bundle's path."""
    run_command(
        "litefleet-packager",
        *("pack", EXAMPLES / f"digits-{version}.tflite", "--name", "digits", "--version", version),
        *("--profile", profile, "--labels", EXAMPLES / "labels.txt", "--output", output),
        *("--calibration", EXAMPLES / "calibration", "--evaluation", EXAMPLES / "evaluation"),
    )
    return output / f"digits-{version}-{profile}.bundle"


@dataclass(frozen=True)
class Board:
    """What a device's agent runs on.

    Attributes:
        profile: Profile id.
        program: What stands for ``litefleet-agent``; empty for the installed one.
        environment: Variables of the agent.
        patience_s: How long it may take to start.
    """

    profile: str = PROFILE
    program: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 30.0


class RealFleet:
    """Server and agents of one test; ends with its context.

    Args:
        folder: Where everything is kept.
        server: Running.
    """

    def __init__(self, folder: Path, server: ServerProcess) -> None:
        self.folder = folder
        self.server = server
        self.agents: dict[str, AgentProcess] = {}

    def publish(self, *bundles: Path) -> str:
        """Publish bundles with the fleet's own keys."""
        keys = self.folder / "keys"
        if not keys.exists():
            run_command("litefleet-packager", "keys", "init", "--keys", keys)
        access = (
            "--server",
            self.server.url,
            "--keys",
            keys,
            "--token-file",
            self.server.publisher_token_file,
        )
        return run_command("litefleet-packager", "publish", *bundles, *access)

    def operate(self, *words: str | Path) -> Any:
        """An operator's command; its JSON."""
        access = ("--server", self.server.url, "--token-file", self.server.operator_token_file, "--json")
        return json.loads(run_command("litefleet", *access, *words))

    def home(self, device: str) -> Path:
        """A device's folder."""
        return self.folder / device

    def add_device(self, device: str, board: Board | None = None) -> AgentProcess:
        """Enrol a device, start its agent and wait until the server sees it."""
        board = board or Board()
        self.operate("devices", "add", device, "--profile", board.profile, "--output", self.home(device))
        environment = {**os.environ, "LITEFLEET_AGENT_TELEMETRY_WINDOW_S": "1.0", **board.environment}
        config = self.home(device) / "agent.toml"
        agent = AgentProcess(config, environment)
        self.agents[device] = agent
        agent.start([*board.program, "run", "--config", str(config)] if board.program else ())
        agent.wait_ready(board.patience_s)
        wait_until(lambda: self.device(device)["online"], timeout_s=board.patience_s, what=f"{device} online")
        return agent

    def device(self, device: str) -> dict[str, Any]:
        """What the server knows of a device."""
        found: dict[str, Any] = self.server.api("GET", f"/api/v1/devices/{device}")
        return found

    def start_rollout(self, version: str, *phases: float) -> str:
        """Start a rollout of digits; its id."""
        options = [word for phase in phases for word in ("--phase", str(phase))]
        return str(self.operate("rollouts", "start", "digits", version, *options)["id"])

    def rollout(self, rollout_id: str) -> dict[str, Any]:
        """Where a rollout is."""
        found: dict[str, Any] = self.server.api("GET", f"/api/v1/rollouts/{rollout_id}")
        return found

    def wait_for_end(self, rollout_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until a rollout ended; how."""
        wait_until(
            lambda: self.rollout(rollout_id)["state"] != "running",
            timeout_s=timeout_s,
            what=f"end of {rollout_id}",
        )
        return self.rollout(rollout_id)

    def wait_for_first_success(self, rollout_id: str) -> None:
        """Wait until the first device of a rollout has the new version: the rollout is in its middle."""

        def has_one() -> bool:
            return any(row["state"] == "succeeded" for row in self.rollout(rollout_id)["deployments"])

        wait_until(has_one, timeout_s=30, what="first success")

    def roll_out(self, version: str) -> None:
        """Roll out to everybody at once, and see it succeed."""
        ended = self.wait_for_end(self.start_rollout(version))
        assert ended["state"] == "succeeded", ended

    def kill_agents(self) -> None:
        """End every agent, however it is."""
        for agent in self.agents.values():
            agent.kill()

    def versions(self) -> dict[str, str]:
        """Device to the version of digits that it reports."""
        return {
            row["id"]: row["models"]["digits"]["version"] for row in self.server.api("GET", "/api/v1/devices")
        }


@contextmanager
def real_fleet(folder: Path, devices: int) -> Iterator[RealFleet]:
    """A server with devices ``board-1`` and so on; the first release is to be published by ``publish_first``."""
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder / "server"))
        fleet = RealFleet(folder, server)
        stack.callback(fleet.kill_agents)
        keys = (
            "--keys",
            folder / "keys",
            "--server",
            server.url,
            "--token-file",
            server.publisher_token_file,
        )
        run_command("litefleet-packager", "keys", "init", *keys)
        for index in range(devices):
            fleet.add_device(f"board-{index + 1}")
        yield fleet

"""One device with everything around it: broker, release server, the server's MQTT side, and its agent process."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.deployment import State
from edge_agent.status import DeviceStatus
from tests.support.agent_broker import AgentBroker
from tests.support.agent_process import AgentProcess
from tests.support.agent_releases import PROFILE, Releases
from tests.support.agent_server import AgentServer

DEVICE = "bench-1"
PASSWORD = "device-secret"
PREFIX = "litefleet/v1"


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Bench:
    """The device's surroundings.

    Attributes:
        folder: Of the device: configuration, state and sockets.
        broker: Running.
        server: The server's MQTT side, connected.
        releases: The HTTP server.
        agent: Not started yet.
    """

    folder: Path
    broker: AgentBroker
    server: AgentServer
    releases: Releases
    agent: AgentProcess

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def start_doomed(self, fatal: State) -> None:
        """Start an agent that kills itself when a deployment enters a state."""
        self.agent.start([sys.executable, "-m", "tests.support.agent_doomed", str(self.config), fatal.value])

    def workers(self) -> dict[int, str]:
        """Process id to version of every worker of this device that runs."""
        forked = _processes("edge_agent.inference.fork_server")
        executed = _processes("edge_agent.inference.worker")
        family = {pid for pid, words in forked.items() if words[-1] == str(self.run_dir)}
        family |= {pid for pid, words in executed.items() if str(self.state_dir) in words[-1]}
        names = {pid: _name(pid).partition(" ") for pid in family}
        return {pid: version for pid, (_, between, version) in names.items() if between}

    def fetchers(self) -> list[int]:
        """Process ids of fetching processes that this device's fetch lock keeps apart."""
        return [
            pid for pid in _processes("edge_agent.update.fetch") if _holds(pid, self.state_dir / "fetch.lock")
        ]

    def sources(self) -> list[int]:
        """Process ids of source processes of this device."""
        found = _processes("edge_agent.inference.sources")
        return [pid for pid, words in found.items() if str(self.run_dir) in words]

    def gateways(self) -> list[int]:
        """Process ids of gateways of this device."""
        found = _processes("edge_agent.gateway")
        return [pid for pid, words in found.items() if str(self.run_dir) in words]

    def slot(self, name: str) -> Path:
        """A slot folder of the digits model."""
        return self.state_dir / "models" / "digits" / name


def _processes(module: str) -> dict[int, list[str]]:
    """Process id to command line of every process that runs a module."""
    found: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            if module in words:
                found[int(path.parent.name)] = words
    return found


def _name(pid: int) -> str:
    """What a process calls itself; empty for one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return ""


def _holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    with contextlib.suppress(OSError):
        return any(link.resolve() == path.resolve() for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def write_config(folder: Path, *, port: int, releases: Releases, extra: str = "") -> Path:
    """Write what ``litefleet devices add`` writes."""
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    (folder / "root.json").write_bytes(releases.root.read_bytes())
    path = folder / "agent.toml"
    path.write_text(
        f'[device]\nid = "{DEVICE}"\nprofile = "{PROFILE}"\n'
        f'[server]\nurl = "{releases.server.url}"\n'
        f'[mqtt]\nport = {port}\nprefix = "{PREFIX}"\nkeepalive_s = 5\n'
        f"[telemetry]\nwindow_s = 0.2\n{extra}"
    )
    return path


@contextlib.contextmanager
def bench(folder: Path, releases: Releases, *, extra: str = "") -> Iterator[Bench]:
    """Everything but the agent runs."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(AgentBroker(folder / "broker", PREFIX, {DEVICE: PASSWORD}))
        server = stack.enter_context(AgentServer(broker.port, PREFIX, DEVICE))
        config = write_config(folder / "device", port=broker.port, releases=releases, extra=extra)
        agent = stack.enter_context(AgentProcess(config))
        yield Bench(folder / "device", broker, server, releases, agent)


def start_deployed(bench: Bench, prepared: Path) -> None:
    """Start the agent on a copy of a state folder where 1.0.0 was deployed as ``d1`` with revision 1."""
    shutil.copytree(prepared, bench.state_dir)
    bench.server.revision = 1
    bench.agent.start().wait_ready()


def parse_status(text: str) -> DeviceStatus:
    """What ``litefleet-agent status --json`` printed."""
    return msgspec.json.decode(text, type=DeviceStatus)

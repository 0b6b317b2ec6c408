"""A running server with trust, releases and devices: what most tests of the server start from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packager.keys import create_keys
from packager.publish import establish_trust, publish_bundles
from tests.support.builders import PROFILE, a_bundle
from tests.support.server_device import DeviceAccess, DeviceDouble
from tests.support.server_process import ServerProcess, wait_until

ENDED = ("succeeded", "stopped")


@dataclass
class Fleet:
    """A server and what a test did with it.

    Attributes:
        server: The server.
        folder: For keys and bundles.
        devices: Connected devices by id.
    """

    server: ServerProcess
    folder: Path
    devices: dict[str, DeviceDouble] = field(default_factory=dict)

    def trust(self) -> None:
        """Make a publisher's keys, and let the server trust them."""
        create_keys(self.folder / "keys")
        establish_trust(**self._publisher())

    def publish(self, version: str, *, model: str = "digits") -> None:
        """Publish a release for the one profile that the devices have."""
        bundle = a_bundle(self.folder / "bundles", model=model, version=version)
        publish_bundles([bundle], **self._publisher())

    def enrol(self, device: str) -> DeviceAccess:
        """Let a device in."""
        answer = self.server.api("POST", "/api/v1/devices", {"id": device, "profile": PROFILE})
        return DeviceAccess.of(answer)

    def connect(self, *names: str) -> list[DeviceDouble]:
        """Let devices in and connect them; the server knows them as online afterwards."""
        found = []
        for name in names:
            device = DeviceDouble(self.enrol(name))
            device.start()
            self.devices[name] = device
            found.append(device)
        for name in names:
            self.wait_online(name, online=True)
        return found

    def device(self, name: str) -> Any:
        """What the server knows of a device."""
        return self.server.api("GET", f"/api/v1/devices/{name}")

    def wait_online(self, name: str, *, online: bool) -> None:
        wait_until(lambda: self.device(name)["online"] is online, what=f"{name} online is {online}")

    def start_rollout(self, version: str, **changes: Any) -> str:
        """Start a rollout of digits; its id."""
        order = {"model": "digits", "version": version, "phases": [1.0]} | changes
        return str(self.server.api("POST", "/api/v1/rollouts", order)["id"])

    def rollout(self, rollout: str) -> Any:
        return self.server.api("GET", f"/api/v1/rollouts/{rollout}")

    def wait_ended(self, rollout: str) -> Any:
        """Wait until a rollout has ended; it."""
        wait_until(lambda: self.rollout(rollout)["state"] in ENDED, what=f"rollout {rollout} ends")
        return self.rollout(rollout)

    def close(self) -> None:
        """Disconnect all devices."""
        for device in self.devices.values():
            device.stop()
        self.devices.clear()

    def _publisher(self) -> dict[str, Any]:
        token = self.server.publisher_token_file.read_text().strip()
        return {
            "server": self.server.url,
            "token": token,
            "keys": self.folder / "keys",
            "echo": lambda _: None,
        }


@contextlib.contextmanager
def running_fleet(folder: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    """A server with trust and the releases digits 1.0.0 and 1.1.0."""
    with ServerProcess(folder / "server", environment=environment) as server:
        fleet = Fleet(server, folder)
        try:
            fleet.trust()
            for version in ("1.0.0", "1.1.0"):
                fleet.publish(version)
            yield fleet
        finally:
            fleet.close()

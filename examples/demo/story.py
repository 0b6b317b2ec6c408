"""The demo's story, chapter by chapter; every step is a command that a user would type."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import DemoError, Processes, command, free_port

from contract.bundle import BundleReader, bundle_name
from contract.profile import Precision

if TYPE_CHECKING:
    from rich.console import Console

PROFILES = ("generic-x86-64", "generic-x86-64-small")
FLEET = {
    "board-1": PROFILES[0],
    "board-2": PROFILES[1],
    "board-3": PROFILES[0],
    "board-4": PROFILES[1],
    "board-5": PROFILES[0],
}
MODEL = "digits"
MAX_DROP = "0.01"
REQUESTS_A_SECOND = 70
TELEMETRY_WINDOW_S = "2.0"
WATCH_BETWEEN_S = 3.0
"""How long the fleet answers with a version before the story goes on, so that telemetry windows fill."""
MIN_REQUESTS = 5000


@dataclass
class Story:
    """Tells the story once.

    Attributes:
        folder: The demo's own folder.
        examples: ``examples/digits``.
        processes: Everything that runs.
        console: Where it is narrated.
    """

    folder: Path
    examples: Path
    processes: Processes
    console: Console
    begun: float = field(default_factory=time.monotonic)
    url: str = ""
    deployments: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)

    def tell(self) -> dict[str, Any]:
        """All chapters; returns the summary."""
        bundles = self.pack()
        self.start_server()
        self.start_fleet(bundles["1.0.0"])
        self.roll_out("1.0.0", bundles["1.0.0"], phases=())
        self.wait_until_all_answer("1.0.0")
        time.sleep(WATCH_BETWEEN_S)
        self.roll_out("1.1.0", bundles["1.1.0"], phases=("0.4", "1.0"))
        self.wait_until_all_answer("1.1.0")
        time.sleep(WATCH_BETWEEN_S)
        self.roll_out_damaged("1.3.0", bundles["1.3.0"])
        self.wait_for_requests()
        return self.summarize(bundles["1.0.0"])

    def say(self, text: str) -> None:
        """One line of the story with the time since its begin."""
        self.console.print(f"[dim]{time.monotonic() - self.begun:6.1f} s[/dim]  {text}")

    # -- packing -------------------------------------------------------------------------------------------------

    def pack(self) -> dict[str, list[Path]]:
        """Pack all versions, two at a time; 1.2.0 is to be refused."""
        keys = self.folder / "keys"
        self.processes.run([command("litefleet-packager"), "keys", "init", "--keys", str(keys)])
        begun = time.monotonic()
        bundles = {"1.0.0": self._pack_one("1.0.0")}
        self._say_packed(bundles["1.0.0"], time.monotonic() - begun)
        baseline = next(path for path in bundles["1.0.0"] if path.name.endswith(f"{PROFILES[0]}.bundle"))
        with ThreadPoolExecutor(max_workers=2) as pool:
            refusal = pool.submit(self._pack_collapsed, baseline)
            later = {
                version: pool.submit(self._pack_one, version, baseline) for version in ("1.1.0", "1.3.0")
            }
            for version, packed in later.items():
                bundles[version] = packed.result()
            self.say(f"packed digits 1.1.0 and 1.3.0 against 1.0.0's accuracy, at most {MAX_DROP} below it")
            reason = refusal.result()
        self.refused.append({"what": "digits 1.2.0 by the packager", "why": reason})
        self.say(f"[yellow]refused digits 1.2.0[/yellow]: {reason}")
        return bundles

    def _pack_arguments(self, version: str, baseline: Path | None) -> list[str]:
        profiles = [word for profile in PROFILES for word in ("--profile", profile)]
        return [
            *(command("litefleet-packager"), "pack", str(self.examples / f"{MODEL}-{version}.tflite")),
            *("--name", MODEL, "--version", version, *profiles),
            *("--calibration", str(self.examples / "calibration")),
            *("--evaluation", str(self.examples / "evaluation")),
            *("--labels", str(self.examples / "labels.txt")),
            *("--max-drop", MAX_DROP, "--output", str(self.folder / "bundles")),
            *(() if baseline is None else ("--baseline", str(baseline))),
        ]

    def _pack_one(self, version: str, baseline: Path | None = None) -> list[Path]:
        self.processes.run(self._pack_arguments(version, baseline))
        paths = [self.folder / "bundles" / f"{MODEL}-{version}-{profile}.bundle" for profile in PROFILES]
        for path in paths:
            with BundleReader(path) as bundle:
                if bundle_name(bundle.manifest) != path.name:
                    raise DemoError(f"{path} holds another release than its name says")
        return paths

    def _pack_collapsed(self, baseline: Path) -> str:
        message = self.processes.run(self._pack_arguments("1.2.0", baseline), accepted=(1,))
        left = sorted((self.folder / "bundles").glob(f"{MODEL}-1.2.0*.bundle"))
        if left:
            raise DemoError(f"packing 1.2.0 left {left[0]} behind")
        return message.strip().splitlines()[-1].removeprefix("error: ")

    def _say_packed(self, paths: list[Path], seconds: float) -> None:
        parts = []
        for path in paths:
            with BundleReader(path) as bundle:
                variants = ", ".join(
                    f"{variant.precision.value} {variant.artifact.size_bytes // 1000} kB {variant.metrics.value:.3f}"
                    for variant in bundle.manifest.variants
                )
                parts.append(f"{bundle.manifest.profile}: {variants}")
        self.say(f"packed digits 1.0.0 in {seconds:.1f} s for {len(paths)} profiles")
        for part in parts:
            self.say(f"  {part}")

    # -- server and fleet ----------------------------------------------------------------------------------------

    def start_server(self) -> None:
        """Server with its broker, on free ports of loopback."""
        folder, http, mqtt = self.folder / "server", free_port(), free_port()
        server = command("litefleet-server")
        self.processes.run([server, "init", str(folder), "--http-port", str(http), "--mqtt-port", str(mqtt)])
        log = self.processes.start("server", [server, "run", str(folder)])
        self.processes.wait_for_line(log, "ready http=")
        self.url = f"http://127.0.0.1:{http}"
        self.say(f"server on {self.url}, broker on 127.0.0.1:{mqtt}")
        if "broker: mosquitto" not in log.read_text():
            self.say(
                "[yellow]mosquitto is not used here: the embedded broker is for trying out only[/yellow]"
            )

    def start_fleet(self, first: list[Path]) -> None:
        """Publish the first release, enrol five devices, start their agents and one application on each."""
        self._publish(first)
        for device, profile in FLEET.items():
            output = str(self.folder / "devices" / device)
            self._operate("devices", "add", device, "--profile", profile, "--output", output)
        config = self.folder / "devices" / "board-1" / "agent.toml"
        images = self.examples / "evaluation" / "7"
        source = f'\n[[sources]]\nmodel = "{MODEL}"\nkind = "folder"\npath = "{images}"\nrate_hz = 5.0\n'
        config.write_text(config.read_text() + source)
        logs = {}
        for device in FLEET:
            home = self.folder / "devices" / device
            run = [command("litefleet-agent"), "run", "--config", str(home / "agent.toml")]
            logs[device] = self.processes.start(
                device, run, {"LITEFLEET_AGENT_TELEMETRY_WINDOW_S": TELEMETRY_WINDOW_S}
            )
        for device, log in logs.items():
            self.processes.wait_for_line(log, f"agent {device} ready")
        self.processes.wait_for("all devices online", self._all_online, 30)
        for device in FLEET:
            script = Path(__file__).with_name("client.py")
            self.processes.start(
                f"client-{device}",
                [
                    *(sys.executable, str(script), str(self.folder / "devices" / device / "run")),
                    *(
                        str(self.examples / "evaluation"),
                        str(self._result(device)),
                        "--rate",
                        str(REQUESTS_A_SECOND),
                    ),
                ],
            )
        self.say(
            f"{len(FLEET)} agents online, an application on each, {REQUESTS_A_SECOND} requests/s; one folder source"
        )

    def _all_online(self) -> bool:
        return sum(device["online"] for device in self._operate("devices")) == len(FLEET)

    def _operate(self, *words: str) -> Any:  # whatever JSON the command prints
        token = str(self.folder / "server" / "secrets" / "operator.token")
        head = [command("litefleet"), "--server", self.url, "--token-file", token, "--json"]
        output = self.processes.run([*head, *words])
        return json.loads(output)

    def _publish(self, paths: list[Path]) -> None:
        token = str(self.folder / "server" / "secrets" / "publisher.token")
        publish = [command("litefleet-packager"), "publish", *map(str, paths), "--server", self.url]
        self.processes.run([*publish, "--keys", str(self.folder / "keys"), "--token-file", token])

    def _result(self, device: str) -> Path:
        return self.folder / f"client-{device}.json"

    # -- rollouts ------------------------------------------------------------------------------------------------

    def roll_out(self, version: str, bundles: list[Path], phases: tuple[str, ...]) -> None:
        """Publish when it is not yet, roll out, and wait for the end."""
        if version != "1.0.0":
            self._publish(bundles)
        begun = time.monotonic()
        rollout = self._start_and_wait(version, phases)
        if rollout["state"] != "succeeded":
            raise DemoError(f"rollout of {version} ended as {rollout['state']}: {rollout['reason']}")
        sizes = " then ".join(
            str(len([row for row in rollout["deployments"] if row["phase"] == index]))
            for index in range(len(rollout["phases"]))
        )
        self.say(
            f"[green]rolled out {version}[/green] to {sizes} devices in {time.monotonic() - begun:.1f} s"
        )

    def roll_out_damaged(self, version: str, bundles: list[Path]) -> None:
        """Publish, flip one byte of each profile's preferred model on the server's disk, roll out, see it refused."""
        self._publish(bundles)
        damaged = set()
        for path in bundles:
            with BundleReader(path) as bundle:
                damaged.add(bundle.manifest.variants[0].artifact.sha256)
        for digest in damaged:
            self._flip_a_byte(digest)
        self.say(
            f"published {version}, then flipped one byte in {len(damaged)} of its artifacts on the server's disk"
        )
        rollout = self._start_and_wait(version, ("0.4", "1.0"))
        if rollout["state"] != "stopped":
            raise DemoError(f"rollout of the damaged {version} ended as {rollout['state']}")
        for row in rollout["deployments"]:
            if row["state"] == "failed":
                what = f"digits {version} by {row['device']}"
                self.refused.append({"what": what, "why": row["detail"] or row["reason"]})
                self.say(f"[yellow]refused {what}[/yellow]: {row['detail'] or row['reason']}")
        self.say(f"rollout stopped: {rollout['reason']}")

    def _flip_a_byte(self, digest: str) -> None:
        [path] = [path for path in (self.folder / "server").rglob(f"{digest}*") if path.is_file()]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x01
        path.chmod(0o644)
        path.write_bytes(content)

    def _start_and_wait(self, version: str, phases: tuple[str, ...]) -> dict[str, Any]:
        options = [word for phase in phases for word in ("--phase", phase)]
        started = self._operate("rollouts", "start", MODEL, version, *options)
        found: dict[str, Any] = started

        def has_ended() -> bool:
            nonlocal found
            found = self._operate("rollouts", "show", started["id"])
            return bool(found["state"] != "running")

        self.processes.wait_for(f"the rollout of {version}", has_ended, 60)
        self.deployments += [
            {
                "device": row["device"],
                "version": version,
                "state": row["state"],
                "reason": row["reason"],
                "seconds": row["seconds"],
            }
            for row in sorted(found["deployments"], key=lambda row: str(row["device"]))
        ]
        return found

    # -- counting ------------------------------------------------------------------------------------------------

    def _results(self) -> dict[str, dict[str, Any]]:
        return {
            device: json.loads(self._result(device).read_text())
            for device in FLEET
            if self._result(device).exists()
        }

    def wait_until_all_answer(self, version: str) -> None:
        """Wait until every application gets its answers from a version."""

        def is_true() -> bool:
            results = self._results()
            return len(results) == len(FLEET) and all(row["latest"] == version for row in results.values())

        self.processes.wait_for(f"answers from {version}", is_true, 30)
        accuracy = sum(row["accuracy"][version] for row in self._results().values()) / len(FLEET)
        self.say(f"every device answers with {version} (accuracy so far {accuracy:.3f})")

    def wait_for_requests(self) -> None:
        """Let the fleet answer until enough requests were counted, at least one more telemetry window."""
        time.sleep(WATCH_BETWEEN_S)
        self.processes.wait_for(
            f"{MIN_REQUESTS} requests",
            lambda: sum(row["requests"] for row in self._results().values()) > MIN_REQUESTS,
            60,
        )

    def summarize(self, bundles: list[Path]) -> dict[str, Any]:
        """Everything that was measured."""
        answering = {device: row["latest"] for device, row in self._results().items()}
        telemetry = self._operate("telemetry")
        releases = [f"{row['model']} {row['version']}" for row in self._operate("releases")]
        self.processes.stop([f"client-{device}" for device in FLEET])
        results = self._results()
        with BundleReader(bundles[0]) as bundle:
            [int8] = [v for v in bundle.manifest.variants if v.precision is Precision.STATIC_INT8]
        return {
            "devices": list(FLEET),
            "releases": releases,
            "accuracy_float": int8.metrics.float_value,
            "accuracy_int8": int8.metrics.value,
            "bytes_float": (self.examples / f"{MODEL}-1.0.0.tflite").stat().st_size,
            "bytes_int8": int8.artifact.size_bytes,
            "deployments": self.deployments,
            "requests_total": sum(row["requests"] for row in results.values()),
            "requests_failed": sum(row["failed"] for row in results.values()),
            "telemetry_windows": sum(row["windows"] for row in telemetry),
            "refused": self.refused,
            "answering": answering,
            "clients": {device: {"profile": FLEET[device], **row} for device, row in results.items()},
        }

    def say_how_to_look_around(self) -> None:
        """For ``KEEP=1``."""
        token = self.folder / "server" / "secrets" / "operator.token"
        bin_folder = Path(sys.executable).parent
        self.console.print(
            f"\nEverything is still running. Look around with:\n"
            f"  export LITEFLEET_SERVER={self.url} LITEFLEET_TOKEN_FILE={token}\n"
            f"  {bin_folder}/litefleet devices\n"
            f"  {bin_folder}/litefleet rollouts\n"
            f"  {bin_folder}/litefleet telemetry\n"
            f"  {bin_folder}/litefleet-agent status --config {self.folder}/devices/board-1/agent.toml\n"
            f"  tail -f {self.folder}/logs/board-1.log\n"
            f"End it with:  {sys.executable} {Path(__file__).with_name('run.py')} --stop"
        )

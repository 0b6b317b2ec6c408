"""A real agent on a board that grows hot and cools down: files of a folder that stands for sysfs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.deployment import State
from contract.heat import HeatCause, HeatLevel
from contract.messages import EventKind, Reported, TelemetryWindow
from edge_agent import connect
from tests.support.agent_bench import Bench, bench, wait_until
from tests.support.agent_releases import GOOD, TWO_FORMS, Releases
from tests.support.asking import Asker
from tests.support.heat_board import HeatBoard

RATE_HZ = 20.0
CONFIG = """
[heat]
sysfs = "{sysfs}"
vcgencmd = "{sysfs}/none"
interval_s = 0.1
hold_s = 0.4
soft_celsius = 60
hard_celsius = 70
{more}
[workers]
threads = 2
[[sources]]
model = "digits"
path = "{images}"
rate_hz = {rate}
"""
IMAGES = Path(__file__).resolve().parents[3] / "examples" / "digits" / "evaluation"


@dataclass(frozen=True)
class HotDevice:
    """A device and its sensors."""

    bench: Bench
    board: HeatBoard

    def level(self) -> HeatLevel | None:
        """As it was reported last."""
        reports = self.bench.server.heard(Reported)
        heat = reports[-1].heat if reports else None
        return None if heat is None else heat.level

    def wait_level(self, level: HeatLevel) -> Reported:
        wait_until(lambda: self.level() is level, f"level {level.value}, not {self.level()}")
        return self.bench.server.heard(Reported)[-1]

    def wait_runs(self, variant: str, threads: int) -> None:
        """Wait until the model is reported to run so."""
        runs: list[tuple[str, int]] = []

        def is_so() -> bool:
            model = self.bench.server.heard(Reported)[-1].models["digits"]
            runs[:] = [(model.variant, model.threads)]
            return runs == [(variant, threads)]

        wait_until(is_so, f"{variant} with {threads} threads, not {runs}")

    def rate_hz(self, *, is_throttled: bool, least: int = 5) -> float:
        """Requests a second over windows with or without a mark, once there are some."""

        def windows() -> list[TelemetryWindow]:
            found = list(self.bench.server.windows.values())
            return [each for each in found if each.is_throttled is is_throttled and each.requests][-least:]

        wait_until(lambda: len(windows()) >= least, f"windows that are throttled: {is_throttled}")
        found = windows()
        return sum(each.requests for each in found) / sum(each.duration_s for each in found)


@contextlib.contextmanager
def hot_device(releases: Releases, version: str = GOOD, more: str = "") -> Iterator[HotDevice]:
    with tempfile.TemporaryDirectory(prefix="lf-") as folder:
        board = HeatBoard(Path(folder) / "sys")
        board.set_celsius(50.0)
        extra = CONFIG.format(sysfs=board.sysfs, images=IMAGES, rate=RATE_HZ, more=more)
        with bench(Path(folder), releases, extra=extra) as made:
            made.agent.start().wait_ready()
            made.server.deploy(version, "d1")
            assert made.server.wait_end("d1").after is State.SUCCEEDED
            yield HotDevice(made, board)
            if made.agent.is_running:
                assert made.agent.terminate() == 0, made.agent.log


@pytest.fixture(scope="module")
def device(releases: Releases) -> Iterator[HotDevice]:
    with hot_device(releases) as made:
        yield made


def test_a_hot_board_feeds_its_models_slower_marks_what_it_measures_and_comes_back(device: HotDevice) -> None:
    device.wait_level(HeatLevel.NORMAL)
    known = len(device.bench.server.events())
    wait_until(lambda: device.rate_hz(is_throttled=False) > 0.6 * RATE_HZ, "sources run at their rate")
    with connect(device.bench.run_dir) as agent:
        asker = Asker(agent.model("digits"), pause_s=1.0)
        device.board.set_celsius(71.5)
        reported = device.wait_level(HeatLevel.LEAST)
        asker.start()
        assert reported.heat is not None
        assert reported.heat.causes == (HeatCause.SOFT_LIMIT, HeatCause.HARD_LIMIT)
        assert reported.heat.celsius == 71.5
        wait_until(
            lambda: 0.1 * RATE_HZ < device.rate_hz(is_throttled=True) < 0.3 * RATE_HZ, "sources run slower"
        )
        device.board.set_celsius(50.0)
        device.wait_level(HeatLevel.NORMAL)
        asker.stop()
    newest = max(seq for _, seq in device.bench.server.windows)

    def rate_after_hz() -> float:
        found = [window for (_, seq), window in device.bench.server.windows.items() if seq > newest + 2]
        return sum(each.requests for each in found) / (sum(each.duration_s for each in found) or 1.0)

    wait_until(lambda: rate_after_hz() > 0.6 * RATE_HZ, "sources run as fast as before")
    told = [
        event.detail.partition(":")[0]
        for event in device.bench.server.events()[known:]
        if event.kind is EventKind.THROTTLED
    ]
    assert told == ["least", "slowed", "eased", "normal"]


def test_under_voltage_and_a_low_battery_hold_a_board_back_too(device: HotDevice) -> None:
    device.wait_level(HeatLevel.NORMAL)
    device.board.set_battery(15, "Discharging")
    assert device.wait_level(HeatLevel.EASED).heat is not None
    device.board.set_firmware(0x1)
    reported = device.wait_level(HeatLevel.SLOWED)
    assert reported.heat is not None
    assert reported.heat.causes == (HeatCause.UNDER_VOLTAGE, HeatCause.LOW_BATTERY)
    assert reported.heat.battery_ratio == 0.15
    device.board.set_firmware(0x10000)
    device.board.set_battery(15, "Charging")
    device.wait_level(HeatLevel.NORMAL)


def test_a_slowed_board_serves_with_fewer_threads_and_with_all_again_and_no_request_fails(
    device: HotDevice,
) -> None:
    device.wait_runs("static-int8", 2)
    with connect(device.bench.run_dir) as agent:
        asker = Asker(agent.model("digits"))
        asker.start()
        device.board.set_cooling("cpufreq-cpu0", 1)
        device.wait_level(HeatLevel.SLOWED)
        device.wait_runs("static-int8", 1)
        device.board.set_cooling("cpufreq-cpu0", 0)
        device.wait_level(HeatLevel.NORMAL)
        device.wait_runs("static-int8", 2)
        answered = asker.versions[GOOD]
        wait_until(lambda: asker.versions[GOOD] > answered + 10, "answers of the last worker")
        asker.stop()
    assert set(asker.versions) == {GOOD}
    assert {event.kind for event in device.bench.server.events()} == {EventKind.THROTTLED}


def test_a_board_that_prefers_accuracy_runs_the_cheaper_variant_while_it_is_hot(releases: Releases) -> None:
    more = 'cheaper_variant = true\n[update]\nvariant = "accurate"'
    with hot_device(releases, TWO_FORMS, more) as device:
        device.wait_runs("float32", 2)
        with connect(device.bench.run_dir) as agent:
            asker = Asker(agent.model("digits"))
            asker.start()
            device.board.set_celsius(75.0)
            device.wait_runs("static-int8", 1)
            device.board.set_celsius(50.0)
            device.wait_level(HeatLevel.NORMAL)
            device.wait_runs("float32", 2)
            asker.stop()
        assert set(asker.versions) == {TWO_FORMS}
        assert (
            device.bench.slot("a").joinpath("variant").read_text()
            == '{"name":"float32","cheaper":"static-int8"}'
        )
        marked = {window.variant for window in device.bench.server.windows.values() if window.is_throttled}
        assert marked == {"float32", "static-int8"}

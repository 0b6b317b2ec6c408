from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import BrokerError, ConfigError, DeviceError, StorageError
from edge_agent.inference.sources.outlet import Outlet
from edge_agent.inference.sources.settings import Sink
from edge_agent.inference.sources.sinks import (
    CallbackSink,
    FileSink,
    GpiodLine,
    GpioSink,
    HookSink,
    open_gpio,
)


def a_result(label: str = "cat", score: float = 0.9) -> dict[str, Any]:
    return {"classes": [{"index": 0, "label": label, "score": score}]}


def test_a_full_file_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    sink = FileSink(Sink(kind="file", path=str(path), max_bytes=1024, keep=2, fsync=True))
    for number in range(100):
        sink.write({"number": number, "padding": "x" * 100})
    sink.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "results.jsonl",
        "results.jsonl.1",
        "results.jsonl.2",
    ]
    assert all(each.stat().st_size <= 1024 for each in path.parent.iterdir())
    names = ("results.jsonl.2", "results.jsonl.1", "results.jsonl")
    lines = [line for name in names for line in (path.parent / name).read_text().splitlines()]
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == list(range(100 - len(numbers), 100))


def test_a_file_that_keeps_nothing_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = FileSink(Sink(kind="file", path=str(path), max_bytes=1024, keep=0))
    for number in range(30):
        sink.write({"number": number, "padding": "x" * 100})
    sink.close()
    assert [each.name for each in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_disk_that_cannot_be_written_is_told() -> None:
    sink = FileSink(Sink(kind="file", path="/dev/full", max_bytes=1024))
    with pytest.raises(StorageError, match="cannot write /dev/full"):
        sink.write({})
    sink.close()


def test_a_program_gets_the_answer_and_its_failures_are_told(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    HookSink(Sink(kind="hook", command=("/bin/sh", "-c", f"cat > {seen}"))).write(a_result())
    assert json.loads(seen.read_text()) == a_result()
    with pytest.raises(DeviceError, match="ended with 3"):
        HookSink(Sink(kind="hook", command=("/bin/sh", "-c", "exit 3"))).write({})
    with pytest.raises(DeviceError, match=r"took longer than 0\.05 s"):
        HookSink(Sink(kind="hook", command=("/bin/sleep", "30"), timeout_s=0.05)).write({})
    with pytest.raises(DeviceError, match="cannot be run"):
        HookSink(Sink(kind="hook", command=("/no/program",))).write({})


@pytest.mark.parametrize(
    ("function", "fault"),
    [("no.module:f", "cannot be loaded"), ("os:nothing", "cannot be loaded"), ("os:sep", "is no function")],
)
def test_a_function_that_is_not_there_is_refused(function: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        CallbackSink(Sink(kind="callback", function=function))


class RecordedGpiod:
    """What ``gpiod`` 2 offers of a chip with one line."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.line = SimpleNamespace(
            Value=SimpleNamespace(ACTIVE="active", INACTIVE="inactive"),
            Direction=SimpleNamespace(OUTPUT="out"),
        )

    def LineSettings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802 - the library's name
        assert settings == {"direction": "out", "active_low": True, "output_value": "inactive"}
        return settings

    def request_lines(self, chip: str, *, consumer: str, config: dict[int, Any]) -> Any:
        if chip != "/dev/gpiochip0":
            raise FileNotFoundError(2, "No such file or directory")
        assert consumer == "litefleet"
        assert list(config) == [17]
        return SimpleNamespace(set_value=self._set, release=lambda: self.values.append("released"))

    def _set(self, line: int, value: str) -> None:
        assert line == 17
        self.values.append(value)


def test_a_line_is_active_while_the_last_answer_is_wanted() -> None:
    library = RecordedGpiod()
    settings = Sink(kind="gpio", line=17, active_low=True, labels=("cat",), min_score=0.5)
    outlet = Outlet(settings, GpioSink(settings, GpiodLine(settings, library)))
    for result in (a_result(), a_result(score=0.1), a_result("dog"), a_result()):
        outlet.put(result)
    outlet.close()
    assert library.values == ["active", "inactive", "inactive", "active", "inactive", "released"]


def test_a_line_that_is_not_there_is_refused_and_so_is_a_missing_library() -> None:
    settings = Sink(kind="gpio", line=17, active_low=True, chip="/dev/gpiochip9")
    with pytest.raises(ConfigError, match="line 17 of /dev/gpiochip9 cannot be used"):
        GpiodLine(settings, RecordedGpiod())
    with pytest.raises(ConfigError) as caught:
        open_gpio(settings)
    assert "gpiod" in caught.value.summary()


class Stubborn:
    """A sink that is stuck, then fails for a while, then works."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.refusals = 1
        self.taken: list[int] = []
        self.is_closed = False

    def write(self, result: dict[str, Any]) -> None:
        self.go.wait(10)
        if result["number"] == 7:
            raise StorageError("never")
        if self.refusals:
            self.refusals -= 1
            raise BrokerError("later")
        self.taken.append(result["number"])

    def close(self) -> None:
        self.is_closed = True


def test_a_queue_is_bounded_what_may_be_tried_again_is_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Stubborn()
    outlet = Outlet(Sink(kind="file", path="x", queue=3), sink)
    for number in range(9):
        outlet.put({"number": number, "classes": []})
    assert outlet.dropped >= 5
    sink.go.set()
    outlet.close()
    assert sink.is_closed
    assert 7 not in sink.taken
    assert {6, 8} <= set(sink.taken)
    assert outlet.dropped + len(sink.taken) == 9
    assert "file sink: later" in caplog.text


def test_a_sink_gets_only_what_it_wants(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    settings = Sink(kind="file", path=str(path), labels=("cat",))
    outlet = Outlet(settings, FileSink(settings))
    for label in ("cat", "dog", "cat"):
        outlet.put(a_result(label))
    outlet.close()
    assert path.read_text().count(os.linesep) == 2

"""``litefleet-agent bench`` as a user runs it: beside an agent that serves, without one, and where it fails."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from contract.bench import Bench, BenchAck, summarise
from contract.topics import Kind
from edge_agent import connect
from edge_agent.bench.waiting import WaitingBenches
from edge_agent.files import make_folder
from tests.support.agent_bench import Bench as Surroundings
from tests.support.agent_bench import wait_until
from tests.support.agent_cli import Ended, run_cli
from tests.support.agent_releases import GOOD, SECOND
from tests.support.asking import Asker
from tests.support.heat_board import HeatBoard

HEAT = """
[heat]
sysfs = "sys"
vcgencmd = "sys/none"
soft_celsius = 80
"""


@pytest.fixture
def installed(device: Surroundings, prepared: Path) -> Surroundings:
    """A device on which digits 1.0.0 is installed; its agent does not run, and its board is cool."""
    shutil.copytree(prepared, device.state_dir)
    device.config.write_text(device.config.read_text() + HEAT)
    HeatBoard(device.folder / "sys").set_celsius(45.0)
    device.server.revision = 1
    return device


def run_bench(device: Surroundings, *words: str | Path) -> Ended:
    return run_cli("bench", "--config", device.config, *words)


def document(ended: Ended) -> Any:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def waiting(device: Surroundings) -> list[str]:
    """Names of the benches that wait for the server."""
    return sorted(path.stem for path in (device.state_dir / "benches").glob("*.json"))


def test_beside_an_agent_that_serves_it_counts_the_requests_and_reaches_the_server(
    installed: Surroundings,
) -> None:
    installed.agent.start().wait_ready()
    with connect(installed.run_dir) as agent, agent.model("digits") as model:
        asker = Asker(model)
        asker.start()
        said = document(run_bench(installed, "digits", "--json"))
        asker.stop()
    result, summary = said["result"], said["summary"]
    assert (result["model"], result["version"], result["variant"]) == ("digits", GOOD, "static-int8")
    assert [len(process["latencies_ms"]) for process in result["processes"]] == [50, 50, 50]
    assert all(process["pss_bytes"] > 10 << 20 for process in result["processes"])
    assert summary["is_valid"], summary
    assert summary["is_throttling_known"]
    assert summary["delegate"]["actual"] == "xnnpack"
    assert summary["delegate"]["nodes_delegated"] > 0
    assert [moment["celsius"] for moment in result["heat"]] == [45.0] * 4
    assert 0 < result["requests_meanwhile"] <= sum(asker.versions.values())

    told = installed.server.wait_for(Bench, lambda found: found.id == said["id"])
    assert summarise(told.result).p50_ms == summary["p50_ms"]
    assert waiting(installed) == [said["id"]], "it stays until the server has it"
    installed.server.send(Kind.BENCH_ACK, BenchAck(v=1, id=said["id"]))
    wait_until(lambda: waiting(installed) == [], "acknowledged and forgotten")


def test_without_an_agent_it_is_kept_and_sent_at_the_next_start(installed: Surroundings) -> None:
    ended = run_bench(installed)
    assert ended.code == 0, ended.err
    assert ended.err.count(" 50 runs, median ") == 3
    lines = ended.out.splitlines()
    assert "counts:    yes" in lines
    assert "meanwhile: no requests were answered" in lines
    assert "heat:      45 to 45 °C, not throttled" in lines
    assert lines[-1] == "Kept: the agent does not run, and tells the server at its next start."

    (name,) = waiting(installed)
    installed.agent.start().wait_ready()
    told = installed.server.wait_for(Bench, lambda found: found.id == name)
    installed.server.send(Kind.BENCH_ACK, BenchAck(v=1, id="another"))
    installed.server.send(Kind.BENCH_ACK, BenchAck(v=1, id=told.id))
    wait_until(lambda: waiting(installed) == [], "acknowledged and forgotten")


def test_on_a_board_that_is_too_hot_it_does_not_count_and_says_why(installed: Surroundings) -> None:
    HeatBoard(installed.folder / "sys").set_celsius(84.0)
    ended = run_bench(installed, "--no-send")
    assert ended.code == 1
    assert "counts:    NO: the board was throttled: 84.0 °C reach the soft limit of 80 °C" in ended.out
    assert ended.out.endswith("The server is not told.\n")
    assert waiting(installed) == []


def test_on_another_delegate_than_was_asked_for_it_does_not_count_and_is_kept(
    installed: Surroundings,
) -> None:
    text = installed.config.read_text()
    installed.config.write_text(text + '[[delegates]]\nname = "npu"\nlibrary = "/nowhere/libnpu.so"\n')
    ended = run_bench(installed)
    assert ended.code == 1
    assert "runs on:   ai-edge-litert" in ended.out
    assert "counts:    NO: ran on xnnpack instead of npu: library-missing" in ended.out
    assert len(waiting(installed)) == 1


def test_a_damaged_model_is_refused_and_nothing_is_kept(installed: Surroundings) -> None:
    slot = next(path for path in (installed.slot("a"), installed.slot("b")) if (path / "variant").exists())
    for artifact in (slot / "artifacts").iterdir():
        artifact.write_bytes(artifact.read_bytes()[:-1] + b"x")
    ended = run_bench(installed)
    assert ended.code == 1
    assert ended.err.startswith("error: artifact ")
    assert "is damaged on this device" in ended.err
    assert waiting(installed) == []


def test_what_cannot_be_measured_is_refused_with_what_to_do(installed: Surroundings) -> None:
    ended = run_bench(installed, "digit")
    assert (ended.code, "did you mean 'digits'" in ended.err) == (1, True)
    with WaitingBenches(installed.state_dir).alone():
        ended = run_bench(installed)
    assert (ended.code, f"another bench (process {os.getpid()}) runs" in ended.err) == (1, True)
    models = installed.state_dir / "models"
    shutil.copytree(models / "digits", models / SECOND)
    ended = run_bench(installed)
    assert (ended.code, f"digits, {SECOND}" in ended.err) == (2, True)
    shutil.rmtree(models)
    ended = run_bench(installed, "digits")
    assert (ended.code, "no model is installed" in ended.err) == (1, True)


def test_where_no_agent_has_run_or_another_users_does_it_says_so(device: Surroundings) -> None:
    ended = run_bench(device)
    assert (ended.code, "no agent has run with this configuration" in ended.err) == (1, True)
    ended = run_cli("bench", "--config", device.folder / "missing.toml")
    assert (ended.code, "cannot read" in ended.err) == (2, True)
    make_folder(device.state_dir)
    assert (run_bench(device).code, "no model is installed" in run_bench(device).err) == (1, True)
    if os.geteuid() == 0:
        os.chown(device.state_dir, 12345, -1)
        ended = run_bench(device)
        assert (ended.code, "sudo -u '#12345' litefleet-agent bench" in ended.err) == (1, True)
        os.chown(device.state_dir, 0, -1)

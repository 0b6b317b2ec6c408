"""Brokers that die, agents that restart, passwords that are wrong: nobody who asks the model notices."""

from __future__ import annotations

from pathlib import Path

from contract.deployment import State
from contract.messages import WIRE_VERSION, Control, EventKind, Telemetry
from contract.topics import Kind
from edge_agent import connect
from tests.support.agent_bench import Bench, parse_status, start_deployed, wait_until
from tests.support.agent_cli import run_cli
from tests.support.agent_releases import GOOD
from tests.support.digits import image_of


def ask(device: Bench, times: int = 1) -> None:
    """Ask the model; it must answer, and rightly."""
    with connect(device.run_dir) as agent:
        model = agent.model("digits")
        for _ in range(times):
            assert model.infer(image_of("7")).label == "7"


def requests_told(device: Bench) -> int:
    return sum(window.requests for window in device.server.windows.copy().values())


def test_after_the_broker_died_the_device_is_back_in_a_newer_session_and_no_window_is_lost(
    deployed: Bench,
) -> None:
    ask(deployed, 5)
    wait_until(lambda: requests_told(deployed) == 5, "telemetry before the outage")
    session = deployed.server.wait_birth().session
    deployed.broker.kill()
    ask(deployed, 7)
    deployed.broker.start()
    birth = deployed.server.wait_birth(after_session=session)
    assert birth.boot == deployed.server.last_state().boot
    ask(deployed, 3)
    wait_until(lambda: requests_told(deployed) == 15, "telemetry of the outage, once")
    assert deployed.server.last_reported().models["digits"].version == GOOD


def test_windows_that_are_not_acknowledged_survive_the_agent_and_keep_their_boot(deployed: Bench) -> None:
    first_boot = deployed.server.wait_birth().boot
    ask(deployed)
    wait_until(lambda: requests_told(deployed) == 1, "telemetry that is acknowledged")
    deployed.server.acknowledges = False
    ask(deployed, 4)
    wait_until(
        lambda: sum(e.window.requests for t in deployed.server.heard(Telemetry) for e in t.windows) >= 5,
        "telemetry that nobody acknowledges",
    )
    deployed.agent.kill()
    deployed.server.acknowledges = True
    deployed.agent.start().wait_ready()
    ask(deployed, 2)
    wait_until(lambda: requests_told(deployed) == 7, "telemetry of both boots")
    boots = {boot for (boot, _), window in deployed.server.windows.copy().items() if window.requests}
    assert len(boots) == 2
    assert first_boot in boots


def test_an_agent_without_a_broker_is_ready_answers_and_connects_when_it_comes(deployed: Bench) -> None:
    assert deployed.agent.terminate() == 0
    deployed.broker.kill()
    deployed.agent.start().wait_ready()
    ask(deployed)
    wait_until(lambda: "cannot be reached" in deployed.agent.log, "a connect that fails")
    session = deployed.server.last_state().session
    deployed.broker.start()
    deployed.server.wait_birth(after_session=session)


def test_an_agent_that_dies_is_told_dead_in_its_own_session_and_lives_in_the_next(device: Bench) -> None:
    device.agent.start().wait_ready()
    birth = device.server.wait_birth()
    device.agent.kill()
    wait_until(lambda: not device.server.last_state().online, "the last will")
    will = device.server.last_state()
    assert (will.boot, will.session) == (birth.boot, birth.session)
    device.agent.start().wait_ready()
    again = device.server.wait_birth(after_session=birth.session)
    assert again.session == birth.session + 1
    assert again.boot != birth.boot
    assert device.agent.terminate() == 0
    wait_until(lambda: not device.server.last_state().online, "the farewell")
    assert device.server.last_state().session == again.session


def test_a_wrong_password_keeps_nobody_from_asking_the_model(deployed: Bench) -> None:
    assert deployed.agent.terminate() == 0
    (deployed.folder / "password").write_text("wrong\n")
    deployed.agent.start().wait_ready()
    wait_until(lambda: "refuses: Not authorized" in deployed.agent.log, "the refusal in the log")
    ask(deployed)


def test_rubbish_from_the_broker_is_refused_and_the_next_document_followed(device: Bench) -> None:
    device.agent.start().wait_ready()
    device.server.wait_birth()
    device.server.send_raw(Kind.DESIRED, b"\x78rubbish")
    wait_until(lambda: EventKind.REFUSED in {event.kind for event in device.server.events()}, "an event")
    device.server.deploy(GOOD, "d1")
    assert device.server.wait_end("d1").after is State.SUCCEEDED


def test_the_server_sets_how_often_and_how_much_is_told(deployed: Bench) -> None:
    deployed.server.control(Control(v=WIRE_VERSION, telemetry_interval_s=0.1, log_level="debug"))
    ask(deployed)
    wait_until(lambda: requests_told(deployed) == 1, "telemetry")
    durations = [window.duration_s for window in deployed.server.windows.copy().values()]
    assert min(durations) < 5.0


def test_the_status_tells_the_same_with_and_without_the_agent(deployed: Bench) -> None:
    running = parse_status(run_cli("status", "--config", deployed.config, "--json").out)
    assert running.agent_pid == deployed.agent.pid
    assert deployed.agent.terminate() == 0
    stopped = parse_status(run_cli("status", "--config", deployed.config, "--json").out)
    assert stopped.agent_pid is None
    assert stopped.models == running.models
    (model,) = stopped.models
    assert (model.version, model.is_good, model.state) == (GOOD, True, State.SUCCEEDED)
    text = run_cli("status", "--config", deployed.config).out
    assert "agent not running, desired revision 1" in text
    assert "digits: 1.0.0 (static-int8), deployment d1 succeeded" in text


def test_the_main_process_is_lean_and_its_workers_end_with_it(device: Bench, prepared: Path) -> None:
    """No numpy, no runtime, no TUF, and less than 30 MiB in proportion."""
    device.agent.without_coverage()
    start_deployed(device, prepared)
    ask(device, 3)
    process = Path("/proc") / str(device.agent.pid)
    maps = (process / "maps").read_text()
    for heavy in ("numpy", "litert", "PIL/", "cryptography", "securesystemslib"):
        assert heavy not in maps
    rollup = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    pss_kib = int(rollup["Pss"].split()[0])
    assert pss_kib < 30 * 1024, f"{pss_kib} KiB"
    workers = device.workers()
    device.agent.kill()
    wait_until(
        lambda: not any(pid in device.workers() for pid in workers), "the workers end with their agent"
    )

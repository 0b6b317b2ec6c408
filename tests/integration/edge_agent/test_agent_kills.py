"""A real agent, killed with SIGKILL the moment each state is on disk, and started again."""

from __future__ import annotations

import os
import signal

from contract.deployment import Reason, State
from edge_agent import connect
from edge_agent.update.journal import Journal
from edge_agent.update.slots import check_slot, read_slot_table
from tests.support.agent_bench import Bench, wait_until
from tests.support.agent_releases import ANSWERS_WRONG, BETTER, GOOD, PROFILE
from tests.support.digits import image_of


def answering(device: Bench) -> str:
    """Version that answers right now, without a broker or server being asked."""
    with connect(device.run_dir) as agent:
        answer = agent.model("digits").infer(image_of("7"))
    assert answer.label == "7"
    return answer.version


def state_on_disk(device: Bench) -> State:
    record = Journal(device.state_dir / "models", device.state_dir).read("digits")
    assert record is not None
    return record.state


def test_killed_in_every_state_one_after_the_other_the_old_version_answers_until_the_new_one_does(
    deployed: Bench,
) -> None:
    deployed.agent.kill()
    deployed.server.deploy(BETTER, "d2", trial_s=0.2)
    way = [
        State.ASSIGNED,
        State.FETCHING,
        State.STAGING,
        State.TESTING,
        State.SWITCHING,
        State.TRIAL,
        State.SUCCEEDED,
    ]
    for state in way:
        deployed.start_doomed(state)
        assert deployed.agent.wait(30) == -signal.SIGKILL, deployed.agent.log
        assert state_on_disk(deployed) is state
        table = read_slot_table(deployed.state_dir / "models" / "digits")
        switched = state in {State.TRIAL, State.SUCCEEDED}
        assert table.running.version == (BETTER if switched else GOOD)
        assert table.running.good != switched
        assert table.slot(table.inactive).good == switched, "there is always one good version"
        check_slot(deployed.slot("a"), model="digits", version=GOOD, profile=PROFILE)
    deployed.agent.start().wait_ready()
    assert answering(deployed) == BETTER
    deployed.server.wait_reported(lambda m: m.deployment == "d2" and m.state is State.SUCCEEDED)
    assert read_slot_table(deployed.state_dir / "models" / "digits").running.good
    wait_until(lambda: list(deployed.workers().values()) == [BETTER], "no worker of a killed agent is left")
    assert deployed.agent.terminate() == 0


def test_killed_while_rolling_back_and_after_failing_the_old_version_answers(deployed: Bench) -> None:
    deployed.agent.kill()
    deployed.server.deploy(ANSWERS_WRONG, "d2")
    for state in (State.ROLLING_BACK, State.FAILED):
        deployed.start_doomed(state)
        assert deployed.agent.wait(30) == -signal.SIGKILL, deployed.agent.log
        assert state_on_disk(deployed) is state
    deployed.agent.start().wait_ready()
    assert answering(deployed) == GOOD
    report = deployed.server.wait_reported(lambda m: m.deployment == "d2" and m.state is State.FAILED)
    assert (report.models["digits"].version, report.models["digits"].reason) == (GOOD, Reason.SELF_TEST)
    wait_until(
        lambda: [*deployed.slot("b").rglob("*")] == [deployed.slot("b") / "artifacts"], "an empty slot"
    )


def test_killed_in_the_middle_of_a_download_it_goes_on_where_it_was(device: Bench) -> None:
    device.agent.start().wait_ready()
    requests = device.releases.server.requests
    with device.releases.gate.holding("/artifacts"):
        device.server.deploy(GOOD, "d1")
        device.server.wait_change("d1", State.FETCHING)
        wait_until(lambda: device.fetchers() != [], "a fetching process")
        os.kill(device.agent.pid, signal.SIGKILL)
        device.agent.wait()
    device.agent.start().wait_ready()
    device.server.wait_reported(lambda m: m.deployment == "d1" and m.state is State.SUCCEEDED)
    assert answering(device) == GOOD
    wait_until(lambda: device.fetchers() == [], "no fetching process of the killed agent is left")
    assert ("GET", "/tuf/metadata/timestamp.json") in requests

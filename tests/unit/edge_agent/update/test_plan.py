from __future__ import annotations

import pytest

from contract.deployment import State
from contract.messages import WIRE_VERSION, Desired, DesiredModel
from edge_agent.update.machine import RECORD_FORMAT, Record
from edge_agent.update.plan import Begin, Continue, Device, Remove, Supersede, is_superseded, plan_next


def a_record(model: str = "digits", deployment: str = "d1", state: State = State.FETCHING) -> Record:
    return Record(
        format=RECORD_FORMAT, deployment=deployment, model=model, version="1.1.0", trial_s=0.0, state=state
    )


def wanting(**models: str) -> Desired:
    return Desired(
        v=WIRE_VERSION,
        revision=1,
        models={
            name: DesiredModel(version="1.1.0", deployment=deployment, trial_s=3.0)
            for name, deployment in models.items()
        },
    )


def device(desired: Desired | None, *records: Record, **running: str) -> Device:
    return Device(desired, {record.model: record for record in records}, running)


def test_a_device_that_nothing_is_desired_of_does_nothing() -> None:
    assert plan_next(device(None, digits="1.0.0")) is None


def test_a_new_deployment_begins() -> None:
    task = plan_next(device(wanting(digits="d1"), digits="1.0.0"))
    assert isinstance(task, Begin)
    assert (task.record.deployment, task.record.version, task.record.trial_s) == ("d1", "1.1.0", 3.0)
    assert task.record.state is State.ASSIGNED


def test_a_version_that_runs_already_has_succeeded_at_once() -> None:
    task = plan_next(device(wanting(digits="d2"), a_record(state=State.FAILED), digits="1.1.0"))
    assert isinstance(task, Begin)
    assert task.record.state is State.SUCCEEDED


def test_an_ended_deployment_is_not_begun_again() -> None:
    for end in (State.SUCCEEDED, State.FAILED):
        assert plan_next(device(wanting(digits="d1"), a_record(state=end), digits="1.0.0")) is None


def test_an_open_deployment_continues_also_before_any_document_came() -> None:
    record = a_record()
    assert plan_next(device(None, record)) == Continue(record)
    assert plan_next(device(wanting(digits="d1"), record)) == Continue(record)


def test_one_deployment_at_a_time_is_under_way() -> None:
    record = a_record("zebras", "d9", State.TRIAL)
    assert plan_next(device(wanting(digits="d1", zebras="d9"), record)) == Continue(record)


@pytest.mark.parametrize("desired", [wanting(digits="d2"), wanting(other="d3")])
def test_a_deployment_that_is_not_desired_any_more_is_superseded(desired: Desired) -> None:
    record = a_record()
    assert is_superseded(record, desired)
    assert plan_next(device(desired, record)) == Supersede(record)


@pytest.mark.parametrize("state", [State.SWITCHING, State.TRIAL, State.ROLLING_BACK])
def test_a_deployment_that_switches_ends_first(state: State) -> None:
    record = a_record(state=state)
    assert plan_next(device(wanting(digits="d2"), record)) == Continue(record)


def test_an_ended_deployment_cannot_be_superseded() -> None:
    assert not is_superseded(a_record(state=State.SUCCEEDED), wanting(digits="d2"))


def test_a_model_that_is_not_desired_is_removed_before_anything_begins() -> None:
    known = a_record("old", state=State.SUCCEEDED)
    assert plan_next(device(wanting(digits="d1"), known, old="1.0.0")) == Remove("old")
    assert plan_next(device(wanting(digits="d1"), left="")) == Remove("left")

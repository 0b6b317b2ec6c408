"""The table of deployment states, and the reasons of failure."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import errors
from contract.deployment import ENDS, NEXT, Reason, State, is_allowed
from contract.errors import LitefleetError

FORWARD = ["assigned", "fetching", "staging", "testing", "switching", "trial", "succeeded"]
OWN_REASONS = {Reason.INTERRUPTED, Reason.SUPERSEDED, Reason.UNKNOWN_STATE, Reason.ROLLBACK_FAILED}
# Codes that no deployment fails with, and why.
NEVER_A_REASON = {
    "error": "the root; never raised itself",
    "accuracy": "decided by the packager, before there is a bundle",
    "conflict": "answered by the server to a publisher or operator",
    "access": "answered by the server to a publisher or operator",
    "forbidden": "answered by the server to a publisher or operator",
    "too-large": "a message or request, not a deployment",
    "input": "an inference request",
    "inference": "an inference request; too many of them are the reason trial",
    "deadline": "an inference request",
    "agent-unavailable": "an inference request",
    "overload": "an inference request",
    "transient": "tried again; when that ends, the reason is download",
    "broker": "tried again; when that ends, the reason is download",
    "server-unavailable": "tried again; when that ends, the reason is download",
    "config": "the agent does not start",
}
CODES = {
    kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LitefleetError)
}


def test_every_error_code_is_a_reason_or_cannot_end_a_deployment() -> None:
    reasons = {reason.value for reason in set(Reason) - OWN_REASONS}
    assert reasons | set(NEVER_A_REASON) == CODES
    assert reasons & set(NEVER_A_REASON) == set()


def test_the_reasons_without_an_error_are_the_deployments_own() -> None:
    assert CODES & {reason.value for reason in OWN_REASONS} == set()


def test_the_way_forward_is_one_line() -> None:
    for before, after in itertools.pairwise(map(State, FORWARD)):
        assert NEXT[before] == {after, State.ROLLING_BACK}


def test_rolling_back_ends_in_failed_and_ends_are_ends() -> None:
    assert NEXT[State.ROLLING_BACK] == {State.FAILED}
    assert {state for state, after in NEXT.items() if not after} == ENDS == {State.SUCCEEDED, State.FAILED}
    assert set(NEXT) == set(State)


@given(st.sampled_from(State), st.sampled_from(State))
def test_a_step_is_allowed_exactly_when_the_table_has_it(before: State, after: State) -> None:
    assert is_allowed(before, after) is (after in NEXT[before])


@given(st.lists(st.integers(0, 1), max_size=20))
def test_every_walk_ends_and_passes_no_state_twice(choices: list[int]) -> None:
    state, seen = State.ASSIGNED, [State.ASSIGNED]
    for choice in choices:
        options = sorted(NEXT[state])
        if not options:
            break
        state = options[choice % len(options)]
        seen.append(state)
    assert len(set(seen)) == len(seen)
    if len(choices) >= len(State):
        assert state in ENDS


@pytest.mark.parametrize("state", sorted(set(State) - ENDS))
def test_every_open_state_leads_to_failed(state: State) -> None:
    assert state is State.ROLLING_BACK or is_allowed(state, State.ROLLING_BACK)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        NEXT[State.FAILED] = frozenset()  # type: ignore[index]

"""When an operator hears of refusals, and how they get to the agent."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.overload import (
    QUIET_S,
    Cause,
    OverloadWatch,
    Totals,
    add_refusal,
    decode_totals,
    encode_totals,
)
from edge_agent.overload_pipe import Teller

TOTALS = st.dictionaries(
    st.text(max_size=8), st.dictionaries(st.sampled_from(Cause), st.integers(1, 1 << 40)), max_size=4
)


def test_refusals_add_up() -> None:
    totals: Totals = {}
    add_refusal(totals, "digits", Cause.CLIENTS)
    add_refusal(totals, "digits", Cause.CLIENTS, 3)
    add_refusal(totals, "", Cause.BODIES)
    assert totals == {"digits": {Cause.CLIENTS: 4}, "": {Cause.BODIES: 1}}


@given(TOTALS)
def test_totals_come_through_the_pipe_as_they_are(totals: Totals) -> None:
    line = encode_totals(totals)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_totals(line) == totals


@pytest.mark.parametrize(
    "line", [b"", b"Traceback", b"[]", b'{"a":1}', b'{"a":{"cups":1}}', b'{"a":{"clients":"1"}}']
)
def test_what_is_no_totals_is_none(line: bytes) -> None:
    assert decode_totals(line) is None


def test_the_first_refusals_are_told_with_their_number_and_cause() -> None:
    watch = OverloadWatch()
    assert watch.take({}, 0.0) == []
    counts = {"digits": {Cause.CLIENTS: 2, Cause.WAITING: 3}, "": {Cause.CONNECTIONS: 1, Cause.BODIES: 4}}
    of_all = (
        "refused 1 connections over HTTP, too many were open;"
        " 4 requests over HTTP, the bodies of others took all memory there is for them"
    )
    of_digits = (
        "refused 2 attempts to connect, as many applications are connected as are taken;"
        " 3 requests over HTTP, too many were waiting"
    )
    assert watch.take(counts, 1.0) == [("", of_all), ("digits", of_digits)]
    assert watch.take(counts, 2.0) == [], "nothing has grown"


def test_trouble_that_goes_on_is_told_once_and_new_trouble_after_a_while_again() -> None:
    watch, told = OverloadWatch(), []
    for second in range(300):
        told += [second] if watch.take({"digits": {Cause.CLIENTS: 1 + second}}, float(second)) else []
    assert told == [0]
    assert watch.take({"digits": {Cause.CLIENTS: 301}}, 299 + QUIET_S - 0.1) == []
    ((_, words),) = watch.take({"digits": {Cause.CLIENTS: 308}}, 299 + 2 * QUIET_S)
    assert words.startswith("refused 7 attempts")


def test_models_have_their_own_quiet() -> None:
    watch = OverloadWatch()
    assert [name for name, _ in watch.take({"one": {Cause.CLIENTS: 1}}, 0.0)] == ["one"]
    both = {"one": {Cause.CLIENTS: 2}, "other": {Cause.CLIENTS: 1}}
    assert [name for name, _ in watch.take(both, 1.0)] == ["other"]


def test_a_new_process_begins_anew() -> None:
    watch = OverloadWatch()
    watch.take({"digits": {Cause.CLIENTS: 50}}, 0.0)
    ((_, words),) = watch.take({"digits": {Cause.CLIENTS: 4}}, 2 * QUIET_S)
    assert words.startswith("refused 4 attempts")


def test_totals_are_told_where_they_changed_and_nobody_waits_for_a_reader() -> None:
    ours, theirs = os.pipe()
    try:
        teller = Teller(theirs)
        teller.tell({})
        for number in range(1, 20_000):  # more than a pipe holds
            teller.tell({"digits": {Cause.CLIENTS: number}})
            teller.tell({"digits": {Cause.CLIENTS: number}})
        lines = os.read(ours, 1 << 20).splitlines()
        assert lines[0] == b'{"digits":{"clients":1}}'
        assert len(set(lines)) == len(lines) > 100
        teller.tell({"digits": {Cause.CLIENTS: 20_000}})
        assert os.read(ours, 1 << 20) == b'{"digits":{"clients":20000}}\n'
    finally:
        os.close(ours)
        os.close(theirs)
    Teller(None).tell({"digits": {Cause.CLIENTS: 1}})

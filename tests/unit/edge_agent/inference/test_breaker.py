from __future__ import annotations

import pytest

from edge_agent.inference.breaker import OPENS_AT, left_of_rest_s, name_of_rest, rest_s
from edge_agent.inference.restarts import restart_pause_s


def test_the_first_deaths_in_a_row_keep_the_breaker_closed() -> None:
    assert [rest_s(number) for number in range(OPENS_AT)] == [0.0] * OPENS_AT


def test_requests_fail_at_once_for_as_long_as_the_restart_is_put_off() -> None:
    assert rest_s(OPENS_AT) == restart_pause_s(OPENS_AT) == 1.6
    assert rest_s(OPENS_AT + 1) > rest_s(OPENS_AT)


def test_a_symlink_tells_how_long_a_model_still_rests() -> None:
    assert left_of_rest_s(f"w/{name_of_rest(105.0)}", 100.0) == 5.0


def test_a_rest_that_is_over_is_none() -> None:
    assert left_of_rest_s(name_of_rest(99.0), 100.0) == 0.0


@pytest.mark.parametrize(
    "target", ["", "w/0a1b2c3d.sock", "resting-until-", "resting-until-inf", "resting-until-1e9"]
)
def test_what_names_no_near_time_is_no_rest(target: str) -> None:
    assert left_of_rest_s(target, 100.0) == 0.0

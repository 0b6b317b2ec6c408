from __future__ import annotations

from typing import Any

from contract.profile import DelegateName
from edge_agent.inference.delegates import Op, ops_of, report_delegate

CONV, POOL, SOFTMAX = Op("CONV_2D", (0, 10), (1,)), Op("MAX_POOL_2D", (1,), (2,)), Op("SOFTMAX", (2,), (3,))


def test_a_delegate_that_took_the_whole_graph() -> None:
    ops = [CONV, POOL, SOFTMAX, Op("DELEGATE", (0, 10), (3,))]

    report = report_delegate(DelegateName.XNNPACK, ops)

    assert (report.requested, report.actual) == ("xnnpack", "xnnpack")
    assert (report.nodes_total, report.nodes_delegated) == (3, 3)


def test_a_delegate_that_left_the_last_node() -> None:
    report = report_delegate(DelegateName.XNNPACK, [CONV, POOL, SOFTMAX, Op("DELEGATE", (0, 10), (2,))])

    assert (report.nodes_total, report.nodes_delegated) == (3, 2)


def test_two_delegated_parts_with_a_node_between() -> None:
    ops = [CONV, POOL, SOFTMAX, Op("DELEGATE", (0, 10), (1,)), Op("DELEGATE", (2,), (3,))]

    assert report_delegate(DelegateName.EDGETPU, ops).nodes_delegated == 2


def test_branches_that_meet_are_counted_once() -> None:
    left, right = Op("RELU", (1,), (2,)), Op("TANH", (1,), (3,))
    join = Op("ADD", (2, 3), (4,))

    report = report_delegate(DelegateName.XNNPACK, [CONV, left, right, join, Op("DELEGATE", (0, 10), (4,))])

    assert report.nodes_delegated == 4


def test_a_delegate_that_passes_an_input_on_took_nothing_there() -> None:
    report = report_delegate(DelegateName.XNNPACK, [CONV, Op("DELEGATE", (0,), (0,))])

    assert report.nodes_delegated == 0


def test_a_graph_without_a_delegate_runs_on_none_whatever_was_asked() -> None:
    report = report_delegate(DelegateName.XNNPACK, [CONV, POOL])

    assert (report.requested, report.actual, report.nodes_delegated) == ("xnnpack", "none", 0)


def test_a_runtime_that_does_not_tell_claims_nothing() -> None:
    report = report_delegate(DelegateName.EDGETPU, [])

    assert (report.actual, report.nodes_total) == ("none", 0)


def test_ops_are_read_from_the_private_list() -> None:
    details: list[dict[str, Any]] = [{"op_name": "CONV_2D", "inputs": [0, 10], "outputs": [1], "index": 0}]

    assert ops_of(details) == [CONV]

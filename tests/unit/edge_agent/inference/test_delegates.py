from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.profile import DelegateName
from edge_agent.inference.delegates import Attempt, Op, ops_of, plan_attempts, report_delegate
from edge_agent.inference.engine import Engine, ExternalDelegate, LostDelegate
from edge_agent.inference.restarts import spec_of_restart
from edge_agent.inference.workers import WorkerSpec

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


def test_a_library_that_took_nodes_before_xnnpack_could_is_what_runs() -> None:
    early = [CONV, POOL, SOFTMAX, Op("DELEGATE", (1,), (2,))]
    late = [*early, Op("DELEGATE", (0, 10), (1,)), Op("DELEGATE", (2,), (3,))]

    report = report_delegate("npu", late, loaded="npu", early=early, reason="not this one")

    assert (report.requested, report.actual, report.is_fallback) == ("npu", "npu", False)
    assert (report.nodes_total, report.nodes_delegated, report.partitions, report.reason) == (3, 1, 1, "")


def test_a_library_that_took_nothing_leaves_xnnpack_and_says_so() -> None:
    report = report_delegate(
        "npu", [CONV, POOL, SOFTMAX, Op("DELEGATE", (0, 10), (3,))], loaded="npu", early=[CONV, POOL, SOFTMAX]
    )

    assert (report.actual, report.nodes_delegated, report.is_fallback) == ("xnnpack", 3, True)
    assert report.reason == "npu took no node of this model"


def test_two_pieces_are_two_partitions() -> None:
    ops = [CONV, POOL, SOFTMAX, Op("DELEGATE", (0, 10), (1,)), Op("DELEGATE", (2,), (3,))]

    assert report_delegate("xnnpack", ops).partitions == 2


NPU, GPU = (ExternalDelegate(name=name, library=f"lib{name}.so") for name in ("npu", "gpu"))
TPU = ExternalDelegate(name="edgetpu", library="libedgetpu.so.1")
LOST = LostDelegate(name="gpu", reason="hang: no answer")


def test_an_ordinary_model_is_tried_on_every_library_and_then_on_the_processor() -> None:
    plan = plan_attempts(DelegateName.XNNPACK, Engine(externals=(TPU, NPU, GPU)))

    assert plan.requested == "npu"
    assert plan.attempts == (
        Attempt(NPU, has_xnnpack=True),
        Attempt(GPU, has_xnnpack=True),
        Attempt(None, has_xnnpack=True),
    )


def test_an_ordinary_model_without_libraries_runs_on_what_it_was_made_for() -> None:
    assert plan_attempts(DelegateName.NONE, Engine()) == ("none", (Attempt(None, has_xnnpack=False),), "")
    assert plan_attempts(DelegateName.XNNPACK, Engine()) == (
        "xnnpack",
        (Attempt(None, has_xnnpack=True),),
        "",
    )


def test_a_lost_xnnpack_is_named_with_its_reason() -> None:
    engine = Engine(has_xnnpack=False, lost=(LostDelegate(name="xnnpack", reason="abi-crash: SIGILL"),))

    assert plan_attempts(DelegateName.XNNPACK, engine) == (
        "xnnpack",
        (Attempt(None, has_xnnpack=False),),
        "abi-crash: SIGILL",
    )


def test_a_lost_library_is_what_was_asked_for() -> None:
    plan = plan_attempts(DelegateName.XNNPACK, Engine(lost=(LOST,)))

    assert (plan.requested, plan.reason) == ("gpu", "hang: no answer")
    assert plan.attempts == (Attempt(None, has_xnnpack=True),)


def test_a_compiled_model_runs_on_the_edge_tpu_or_not_at_all() -> None:
    assert plan_attempts(DelegateName.EDGETPU, Engine(externals=(NPU, TPU))).attempts == (
        Attempt(TPU, has_xnnpack=True),
    )
    lost = Engine(lost=(LostDelegate(name="edgetpu", reason="no-device: none"),))
    assert plan_attempts(DelegateName.EDGETPU, lost) == ("edgetpu", (), "no-device: none")


def test_a_model_for_a_library_runs_on_one_or_not_at_all() -> None:
    assert plan_attempts(DelegateName.EXTERNAL, Engine(externals=(NPU,))) == (
        "npu",
        (Attempt(NPU, has_xnnpack=True),),
        "",
    )
    assert plan_attempts(DelegateName.EXTERNAL, Engine(lost=(LOST,))) == ("gpu", (), "hang: no answer")
    assert plan_attempts(DelegateName.EXTERNAL, Engine()) == ("external", (), "")


def test_an_engine_without_its_libraries_says_why() -> None:
    careful = Engine(externals=(NPU,), lost=(LOST,)).without_externals("the worker died")

    assert careful.externals == ()
    assert careful.why_lost("npu") == "the worker died"
    assert careful.why_lost("gpu") == "hang: no answer"


def test_a_worker_that_keeps_dying_goes_on_without_libraries() -> None:
    spec = WorkerSpec(
        model="digits", version="1.0.0", slot_dir=Path("slot"), threads=1, engine=Engine(externals=(NPU,))
    )

    assert spec_of_restart(spec, 3) is spec
    careful = spec_of_restart(spec, 4)
    assert careful.engine.externals == ()
    assert "died 4 times" in careful.engine.why_lost("npu")
    assert spec_of_restart(careful, 9) is careful


def test_a_known_reason_is_what_a_fallback_says() -> None:
    report = report_delegate("npu", [CONV, POOL], reason="hang: no answer")

    assert (report.actual, report.reason) == ("none", "hang: no answer")

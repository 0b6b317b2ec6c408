"""Rules of the Edge TPU's coverage, on graphs made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from contract.errors import ManifestError
from packager.coverage.coverage import Memory
from packager.coverage.edgetpu import ON_CHIP_BYTES, OPERATIONS, computes_float, predict_edgetpu
from packager.coverage.graph import Graph, Node, Tensor
from packager.coverage.rules import EDGETPU_RULES
from tests.support.coverage_tensors import IMAGE, constant, graph, refused, tensor


def edgetpu(
    operator: str, inputs: list[Tensor], outputs: list[Tensor], runtime: int = 14, **changes: Any
) -> tuple[str, str]:
    return refused(predict_edgetpu(graph(operator, inputs, outputs, **changes), runtime))


BYTE = tensor(dtype="int8")
AXES = constant((1,), "int32", values=(3,))
TPU_CASES: dict[str, tuple[tuple[str, list[Tensor], list[Tensor], dict[str, Any]], str]] = {
    "an operation that is not in the table": (("GATHER", [BYTE], [BYTE], {}), "operator"),
    "an older runtime": (("TRANSPOSE", [BYTE, AXES], [BYTE], {"runtime": 13}), "runtime"),
    "float": (("RELU", [tensor()], [tensor()], {}), "type"),
    "a free dimension": (("RELU", [tensor(dtype="int8", is_dynamic=True)], [BYTE], {}), "static"),
    "four large dimensions": (("RELU", [tensor((2, 4, 4, 8), "int8")], [BYTE], {}), "rank"),
    "computed weights": (("CONV_2D", [BYTE, tensor((8, 3, 3, 8), "int8")], [BYTE], {}), "rank"),
    "a fused activation": (
        ("MAX_POOL_2D", [BYTE], [BYTE], {"options": {"fused_activation_function": 1}}),
        "limitation",
    ),
    "a constant among three": (
        ("CONCATENATION", [BYTE, BYTE, constant(IMAGE, "int8")], [BYTE], {}),
        "limitation",
    ),
    "different dilations": (
        ("CONV_2D", [BYTE], [BYTE], {"options": {"dilation_w_factor": 1, "dilation_h_factor": 2}}),
        "limitation",
    ),
    "a dilated depthwise convolution, old": (
        (
            "DEPTHWISE_CONV_2D",
            [BYTE],
            [BYTE],
            {"options": {"dilation_w_factor": 2, "dilation_h_factor": 2}, "runtime": 12},
        ),
        "limitation",
    ),
    "an output of two dimensions": (
        ("FULLY_CONNECTED", [BYTE], [tensor((4, 8), "int8")], {}),
        "limitation",
    ),
    "another weights format": (
        ("FULLY_CONNECTED", [BYTE], [tensor((1, 8), "int8")], {"options": {"weights_format": 1}}),
        "limitation",
    ),
    "a mean of the batch": (
        ("MEAN", [BYTE, constant((1,), "int32", values=(0,))], [BYTE], {}),
        "limitation",
    ),
    "a mean of channels, old": (("MEAN", [BYTE, AXES], [BYTE], {"runtime": 12}), "limitation"),
    "a mean of 3 channels": (("MEAN", [tensor((1, 4, 4, 3), "int8"), AXES], [BYTE], {}), "limitation"),
    "packing the batch": (("PACK", [BYTE], [BYTE], {"options": {"axis": 0}}), "limitation"),
    "padding the batch": (
        ("PAD", [BYTE, constant((4, 2), "int32", values=(1, 0, 0, 0, 0, 0, 0, 0))], [BYTE], {}),
        "limitation",
    ),
    "padding channels, old": (
        (
            "PAD",
            [BYTE, constant((4, 2), "int32", values=(0, 0, 0, 0, 0, 0, 1, 0))],
            [BYTE],
            {"runtime": 12},
        ),
        "limitation",
    ),
    "an alpha per pixel": (("PRELU", [BYTE, constant((4, 8), "int8")], [BYTE], {}), "limitation"),
    "a softmax of rows": (("SOFTMAX", [tensor((4, 8), "int8")], [BYTE], {}), "limitation"),
    "a softmax of very many": (("SOFTMAX", [tensor((1, 20_000), "int8")], [BYTE], {}), "limitation"),
    "splitting the batch": (
        ("SPLIT", [constant((), "int32", values=(0,)), BYTE], [BYTE], {}),
        "limitation",
    ),
    "squeezing the middle, old": (
        ("SQUEEZE", [tensor((4, 1, 8), "int8")], [BYTE], {"runtime": 12}),
        "limitation",
    ),
    "a slice by two": (
        (
            "STRIDED_SLICE",
            [BYTE, AXES, AXES, constant((4,), "int32", values=(1, 2, 2, 1))],
            [BYTE],
            {},
        ),
        "limitation",
    ),
    "a slice with a new axis": (
        (
            "STRIDED_SLICE",
            [BYTE, AXES, AXES, constant((1,), "int32", values=(1,))],
            [BYTE],
            {"options": {"new_axis_mask": 1}},
        ),
        "limitation",
    ),
}


@pytest.mark.parametrize("case", TPU_CASES)
def test_the_edge_tpu_leaves_out(case: str) -> None:
    (operator, inputs, outputs, changes), rule = TPU_CASES[case]
    assert edgetpu(operator, inputs, outputs, **changes)[0] == rule


@pytest.mark.parametrize("case", [("PAD", [BYTE], [BYTE]), ("FULLY_CONNECTED", [BYTE], [])])
def test_a_node_without_what_its_operator_needs_is_damaged(
    case: tuple[str, list[Tensor], list[Tensor]],
) -> None:
    nodes = Graph([BYTE], [Node(case[0], (0,), (0,) * len(case[2]))], (0,), (0,))
    with pytest.raises(ManifestError, match=f"it is damaged: {case[0]} has no (in|out)put"):
        predict_edgetpu(nodes)


def test_weights_that_are_computed_stay_on_the_cpu() -> None:
    found = edgetpu("CONV_2D", [BYTE, tensor((1, 3, 3, 8), "int8")], [BYTE])
    assert found == ("constant", "t is computed")


@pytest.mark.parametrize(
    ("operator", "inputs", "runtime"),
    [
        ("MEAN", [BYTE, AXES], 14),
        ("MEAN", [tensor((8,), "int8"), constant((1,), "int32", values=(0,))], 14),
        ("MEAN", [BYTE, constant((2,), "int32", values=(1, 2))], 12),
        ("MEAN", [tensor((), "int8"), AXES], 14),
        ("REDUCE_MAX", [BYTE, AXES], 14),
        ("SQUEEZE", [tensor((1, 1, 8), "int8")], 12),
        ("SQUEEZE", [tensor((4, 1, 8), "int8")], 14),
        ("PAD", [BYTE, constant((4, 2), "int32", values=(0, 0, 1, 1, 1, 1, 0, 0))], 12),
        ("PAD", [tensor((8,), "int8"), constant((1, 2), "int32", values=(1, 1))], 14),
        ("CONCATENATION", [BYTE, constant(IMAGE, "int8")], 14),
        ("SPLIT", [constant((), "int32", values=(3,)), BYTE], 14),
        ("DEPTHWISE_CONV_2D", [BYTE], 12),
        ("FULLY_CONNECTED", [tensor((1, 8), "int8"), constant((8, 8), "int8")], 14),
    ],
)
def test_the_edge_tpu_takes(operator: str, inputs: list[Tensor], runtime: int) -> None:
    output = tensor((1, 8), "int8")
    assert predict_edgetpu(graph(operator, inputs, [output]), runtime).nodes_delegated == 1


def chain(*operators: str, first: Tensor = BYTE, others: Tensor = BYTE) -> Graph:
    """Nodes one after another."""
    nodes = [Node(operator, (position,), (position + 1,)) for position, operator in enumerate(operators)]
    tensors = [first, *[others] * len(operators)]
    return Graph(tensors, nodes, inputs=(0,), outputs=(len(operators),))


def test_the_first_operator_that_falls_off_ends_the_mapping() -> None:
    found = predict_edgetpu(chain("RELU", "TANH", "ELU", "RELU", "TANH"))
    assert (found.nodes_delegated, found.partitions) == (2, 1)
    assert [one.rule for one in found.left_out] == ["operator", "after", "after"]


def test_a_first_operator_that_falls_off_leaves_nothing() -> None:
    found = predict_edgetpu(chain("ELU", "RELU"))
    assert (found.nodes_delegated, found.partitions) == (0, 0)


def test_only_operators_that_fall_off_leave_nothing() -> None:
    assert predict_edgetpu(chain("ELU")).nodes_delegated == 0
    assert predict_edgetpu(chain("QUANTIZE", first=tensor())).nodes_delegated == 0


def test_quantizing_float_inputs_stays_on_the_cpu_and_ends_nothing() -> None:
    found = predict_edgetpu(chain("QUANTIZE", "RELU", "TANH", first=tensor()))
    assert found.nodes_delegated == 2


def test_parameters_beyond_the_chip_are_streamed() -> None:
    half = ON_CHIP_BYTES // 2 + 1
    nodes = [
        Node("FULLY_CONNECTED", (0, 1, -1), (2,)),
        Node("FULLY_CONNECTED", (2, 3, -1), (4,)),
        Node("FULLY_CONNECTED", (4, 1, -1), (5,)),
    ]
    line = tensor((1, 8), "int8")
    weights = constant((8, 8), "int8", constant_bytes=half)
    found = predict_edgetpu(Graph([line, weights, line, weights, line, line], nodes, (0,), (5,)))
    assert found.memory == Memory(on_chip_bytes=half, off_chip_bytes=half)


def test_every_limitation_in_the_table_has_words() -> None:
    assert all(one.limitation for one in OPERATIONS.values() if one.check is not None)
    assert {rule for _, rule in TPU_CASES.values()} <= EDGETPU_RULES.keys()


def test_float_inside_is_seen_and_float_at_the_border_is_not() -> None:
    real, byte = tensor(), tensor(dtype="int8")
    assert not computes_float(graph("RELU", [byte], [byte]))
    assert not computes_float(graph("QUANTIZE", [real], [byte]))
    assert not computes_float(graph("DEQUANTIZE", [byte], [real]))
    assert computes_float(graph("RELU", [real], [real]))
    assert computes_float(graph("RELU", [tensor(dtype="bfloat16")], [byte]))
    inside = Graph(
        tensors=[byte, real, byte],
        nodes=[Node("DEQUANTIZE", (0,), (1,)), Node("QUANTIZE", (1, -1), (2,))],
        inputs=(0,),
        outputs=(2,),
    )
    assert computes_float(inside)

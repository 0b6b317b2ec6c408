"""Rules of XNNPACK's coverage that no runnable model shows, on graphs made by hand."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from packager.coverage.coverage import Coverage
from packager.coverage.graph import Graph, Node, Quantization, Tensor
from packager.coverage.partition import cut
from packager.coverage.rules import XNNPACK_RULES
from packager.coverage.xnnpack import predict_xnnpack
from tests.support.coverage_tensors import ONE_SCALE, constant, graph, refused, tensor


def xnnpack(operator: str, inputs: list[Tensor], outputs: list[Tensor], **changes: Any) -> tuple[str, str]:
    return refused(predict_xnnpack(graph(operator, inputs, outputs, **changes)))


CONV = {"stride_w": 1, "stride_h": 1, "dilation_w_factor": 1, "dilation_h_factor": 1}
DEPTH = CONV | {"depth_multiplier": 1}
KERNEL, BIAS = constant((8, 3, 3, 8)), constant((8,))
TINY = Quantization((1e-42,), (0,))
CASES: dict[str, tuple[tuple[str, list[Tensor], list[Tensor], dict[str, Any]], str]] = {
    "sparse fully connected": (
        ("FULLY_CONNECTED", [tensor((1, 8))], [tensor((1, 8))], {"version": 8}),
        "version",
    ),
    "shuffled weights": (
        ("FULLY_CONNECTED", [tensor((1, 8))], [tensor((1, 8))], {"options": {"weights_format": 1}}),
        "option",
    ),
    "one input too few": (("ADD", [tensor()], [tensor()], {}), "count"),
    "an empty dimension": (("RELU", [tensor((1, 0))], [tensor((1, 0))], {}), "shape"),
    "a scale that is no normal number": (
        (
            "CONV_2D",
            [tensor(dtype="int8"), constant((8, 3, 3, 8), "int8", quantization=TINY), BIAS],
            [tensor(dtype="int8")],
            {"options": CONV},
        ),
        "quantization",
    ),
    "a zero point outside the type": (
        (
            "CONV_2D",
            [
                tensor(dtype="int8"),
                constant((8, 3, 3, 8), "int8", quantization=Quantization((0.1,), (200,))),
                BIAS,
            ],
            [tensor(dtype="int8")],
            {"options": CONV},
        ),
        "quantization",
    ),
    "weights of int8 without a scale": (
        (
            "CONV_2D",
            [tensor(), constant((8, 3, 3, 8), "int8", quantization=None), BIAS],
            [tensor()],
            {"options": CONV},
        ),
        "quantization",
    ),
    "a bias left out": (
        ("CONV_2D", [tensor(), KERNEL, BIAS], [tensor()], {"options": CONV, "indices": (0, 1, -1)}),
        "count",
    ),
    "no stride": (("CONV_2D", [tensor(), KERNEL, BIAS], [tensor()], {}), "option"),
    "more channels in the kernel than in the image": (
        ("CONV_2D", [tensor((1, 4, 4, 4)), KERNEL, BIAS], [tensor()], {"options": CONV}),
        "shape",
    ),
    "a multiplier that does not divide": (
        (
            "DEPTHWISE_CONV_2D",
            [tensor(), constant((1, 3, 3, 8)), BIAS],
            [tensor()],
            {"options": DEPTH | {"depth_multiplier": 3}},
        ),
        "option",
    ),
    "a bias of another length": (
        ("FULLY_CONNECTED", [tensor((1, 8)), constant((8, 8)), constant((4,))], [tensor((1, 8))], {}),
        "shape",
    ),
    "uint8 weights without a scale": (
        (
            "FULLY_CONNECTED",
            [tensor((1, 8), "uint8"), constant((8, 8), "uint8", quantization=None)],
            [tensor((1, 8), "uint8")],
            {},
        ),
        "quantization",
    ),
    "blocks that are no multiple of 32": (
        (
            "FULLY_CONNECTED",
            [tensor((1, 8)), constant((8, 8), "int4", quantization=Quantization((), (), 0, 16))],
            [tensor((1, 8))],
            {},
        ),
        "quantization",
    ),
    "an odd number of 4-bit channels": (
        (
            "FULLY_CONNECTED",
            [tensor((1, 7)), constant((8, 7), "int4", quantization=Quantization((), (), 0, 32))],
            [tensor((1, 8))],
            {},
        ),
        "shape",
    ),
    "2-bit weights with one scale": (
        (
            "FULLY_CONNECTED",
            [tensor((1, 8)), constant((8, 8), "int2", quantization=ONE_SCALE)],
            [tensor((1, 8))],
            {},
        ),
        "quantization",
    ),
    "an int8 product with scales per channel": (
        (
            "BATCH_MATMUL",
            [
                tensor((1, 8, 8), "int8"),
                constant((1, 8, 8), "int8", quantization=Quantization((0.1,) * 8, (0,), 2)),
            ],
            [tensor((1, 8, 8), "int8")],
            {},
        ),
        "quantization",
    ),
    "a product of vectors": (("BATCH_MATMUL", [tensor((8,)), tensor((8,))], [tensor((8,))], {}), "shape"),
    "an output shape of three": (
        ("TRANSPOSE_CONV", [constant((3,), "int32"), KERNEL, tensor()], [tensor()], {}),
        "shape",
    ),
    "channels that do not fit": (
        (
            "TRANSPOSE_CONV",
            [constant((4,), "int32", values=(1, 8, 8, 4)), KERNEL, tensor()],
            [tensor((1, 8, 8, 4))],
            {},
        ),
        "shape",
    ),
    "a VALID output smaller than the window": (
        (
            "TRANSPOSE_CONV",
            [constant((4,), "int32", values=(1, 2, 2, 8)), KERNEL, tensor()],
            [tensor((1, 2, 2, 8))],
            {"options": {"stride_w": 1, "stride_h": 1, "padding": 1}},
        ),
        "shape",
    ),
    "a SAME output from another input": (
        (
            "TRANSPOSE_CONV",
            [constant((4,), "int32", values=(1, 9, 9, 8)), KERNEL, tensor()],
            [tensor((1, 9, 9, 8))],
            {"options": {"stride_w": 1, "stride_h": 1, "padding": 0}},
        ),
        "shape",
    ),
    "a stride larger than the window": (
        (
            "TRANSPOSE_CONV",
            [constant((4,), "int32", values=(1, 16, 16, 8)), KERNEL, tensor()],
            [tensor((1, 16, 16, 8))],
            {"options": {"stride_w": 4, "stride_h": 4, "padding": 0}},
        ),
        "option",
    ),
    "blocks of one": (("DEPTH_TO_SPACE", [tensor()], [tensor()], {"options": {"block_size": 1}}), "option"),
    "blocks that do not divide": (
        ("SPACE_TO_DEPTH", [tensor()], [tensor()], {"options": {"block_size": 3}}),
        "shape",
    ),
    "axes in two dimensions": (("MEAN", [tensor(), constant((1, 1), "int32")], [tensor()], {}), "shape"),
    "no axes": (("MEAN", [tensor(), constant((0,), "int32")], [tensor()], {}), "option"),
    "the first axis of a scalar": (
        ("SUM", [tensor(()), constant((1,), "int32", values=(0,))], [tensor(())], {}),
        "option",
    ),
    "a shape in two columns": (
        ("RESHAPE", [tensor(), constant((2, 2), "int32", values=(1, 2, 8, 8))], [tensor()], {}),
        "shape",
    ),
    "a legacy scalar": (
        ("RESHAPE", [tensor((1,)), constant((1,), "int32", values=(0,))], [tensor(())], {}),
        "option",
    ),
    "begin and size of different length": (
        ("SLICE", [tensor(), constant((4,), "int32"), constant((3,), "int32")], [tensor()], {}),
        "shape",
    ),
    "strides for fewer dimensions": (
        ("STRIDED_SLICE", [tensor(), *[constant((3,), "int32", values=(1, 1, 1))] * 3], [tensor()], {}),
        "shape",
    ),
    "paddings for fewer dimensions": (
        ("PAD", [tensor(), constant((3, 2), "int32")], [tensor()], {}),
        "shape",
    ),
    "a negative padding": (
        ("PAD", [tensor(), constant((4, 2), "int32", values=(0, 0, -1, 0, 0, 0, 0, 0))], [tensor()], {}),
        "option",
    ),
    "joining along a new dimension": (
        ("CONCATENATION", [tensor((4,)), tensor((4,))], [tensor((2, 4))], {"options": {"axis": 1}}),
        "option",
    ),
    "a computed slope": (("PRELU", [tensor(), tensor((8,))], [tensor()], {}), "constant"),
    "a product far from the output's scale": (
        (
            "MUL",
            [tensor(dtype="int8"), tensor(dtype="int8")],
            [tensor(dtype="int8", quantization=Quantization((1e-7,), (0,)))],
            {},
        ),
        "scale",
    ),
    "values with scales per channel": (
        (
            "LOGISTIC",
            [tensor(dtype="int8", quantization=Quantization((0.1,) * 8, (0,), 3))],
            [tensor(dtype="int8")],
            {},
        ),
        "quantization",
    ),
    "a begin of two dimensions": (
        ("SLICE", [tensor(), constant((1, 4), "int32"), constant((4,), "int32")], [tensor()], {}),
        "shape",
    ),
    "an unknown custom operator": (("CUSTOM", [tensor()], [tensor()], {"custom": "Mine"}), "operator"),
}


@pytest.mark.parametrize("case", CASES)
def test_xnnpack_leaves_out(case: str) -> None:
    (operator, inputs, outputs, changes), rule = CASES[case]
    assert xnnpack(operator, inputs, outputs, **changes)[0] == rule


def test_a_slope_of_floats_and_one_in_the_file_are_taken() -> None:
    leaky = graph("LEAKY_RELU", [tensor()], [tensor()], options={"alpha": 0.1})
    learnt = graph("PRELU", [tensor(), constant((8,))], [tensor()])
    assert predict_xnnpack(leaky).nodes_delegated == predict_xnnpack(learnt).nodes_delegated == 1


def test_every_reason_that_is_given_is_a_rule() -> None:
    assert {rule for _, rule in CASES.values()} <= XNNPACK_RULES.keys()


def custom(name: str, inputs: list[Tensor], outputs: list[Tensor], *numbers: int) -> Coverage:
    options = struct.pack(f"<{len(numbers)}i", *numbers)
    return predict_xnnpack(graph("CUSTOM", inputs, outputs, custom=name, custom_options=options))


def test_mediapipes_transposed_convolution_is_taken() -> None:
    found = custom("Convolution2DTransposeBias", [tensor(), KERNEL, BIAS], [tensor((1, 8, 8, 8))], 1, 2, 2)
    assert (found.nodes_delegated, found.partitions) == (1, 1)


@pytest.mark.parametrize(("numbers", "rule"), [((), "option"), ((1, 0, 2), "option"), ((2, 9, 9), None)])
def test_mediapipes_transposed_convolution_needs_strides(numbers: tuple[int, ...], rule: str | None) -> None:
    found = custom("Convolution2DTransposeBias", [tensor(), KERNEL, BIAS], [tensor((1, 8, 8, 8))], *numbers)
    assert [one.rule for one in found.left_out] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("numbers", "taken"), [((1, 2, 2, 2, 2), 1), ((1, 2, 2, 3, 3), 0), ((0, 2, 2, 2, 2), 0), ((), 0)]
)
def test_mediapipes_pooling_steps_by_its_window(numbers: tuple[int, ...], taken: int) -> None:
    pool = custom("MaxPoolingWithArgmax2D", [tensor()], [tensor(), tensor()], *numbers)
    unpool = custom("MaxUnpooling2D", [tensor(), tensor()], [tensor()], *numbers)
    assert (pool.nodes_delegated, unpool.nodes_delegated) == (taken, taken)


def variables(*values: Tensor, handle: bool = True) -> Coverage:
    """A variable that is assigned each value in turn and read once."""
    nodes = [Node("VAR_HANDLE", (), (0,))] if handle else []
    nodes += [Node("ASSIGN_VARIABLE", (0, index), ()) for index in range(2, 2 + len(values))]
    nodes.append(Node("READ_VARIABLE", (0,), (1,)))
    resource = Tensor("handle", "resource", (1,))
    return predict_xnnpack(Graph([resource, tensor(), *values], nodes, inputs=(), outputs=(1,)))


def test_a_resource_variable_is_taken_with_its_handle() -> None:
    assert (variables(tensor()).nodes_delegated, variables(tensor()).partitions) == (3, 1)


@pytest.mark.parametrize(
    ("found", "rules"),
    [
        (variables(tensor(), handle=False), ["variable", "variable"]),
        (variables(tensor((2,))), ["variable"]),
        (variables(tensor(dtype="int32")), ["type"]),
    ],
)
def test_a_resource_variable_needs_a_handle_and_one_shape(found: Coverage, rules: list[str]) -> None:
    assert [one.rule for one in found.left_out] == rules


def test_a_variable_that_is_read_as_a_scalar_and_its_handle_are_left_out() -> None:
    nodes = [Node("VAR_HANDLE", (), (0,)), Node("READ_VARIABLE", (0,), (1,))]
    found = predict_xnnpack(Graph([Tensor("h", "resource", (1,)), tensor(())], nodes, (), (1,)))
    assert [one.rule for one in found.left_out] == ["variable", "shape"]


def test_sparse_weights_are_unpacked_with_their_reader() -> None:
    packed, kernel = constant((8, 3, 3, 8), is_sparse=True), tensor((8, 3, 3, 8))
    nodes = [Node("DENSIFY", (0,), (1,)), Node("CONV_2D", (2, 1, 3), (4,), CONV)]
    found = predict_xnnpack(Graph([packed, kernel, tensor(), BIAS, tensor()], nodes, (2,), (4,)))
    assert (found.nodes_delegated, found.partitions) == (2, 1)


def test_nodes_that_wait_for_each_other_end_the_cutting() -> None:
    nodes = [Node("RELU", (1,), (0,)), Node("RELU", (0,), (1,))]
    assert cut(Graph([tensor(), tensor()], nodes, (), (1,)), {0, 1}) == []


def test_a_graph_without_nodes_is_covered_whole() -> None:
    found = predict_xnnpack(Graph([], [], (), ()))
    assert (found.share, found.describe(), found.reasons()) == (1.0, "0/0", [])

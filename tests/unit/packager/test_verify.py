"""Every rule of a model file's structure, each spoiled at one place of a file that is sound."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema

from contract.errors import ManifestError
from packager.runtime.graph import read_graph
from packager.runtime.objects import unpack_model
from packager.runtime.verify import verify
from tests.support.packager_models import changed_model, digits_model
from tests.support.packager_unusual import half_without_signature, sparse_half


def set_opcode(model: Any) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 99


def set_buffer(model: Any) -> None:
    model.subgraphs[0].tensors[0].buffer = 1 << 30


def set_output(model: Any) -> None:
    model.subgraphs[0].outputs = [-1]


def set_operand(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 1, 5000]


def set_left_out_too_far(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [-2]


def set_signature_graph(model: Any) -> None:
    model.signatureDefs[0].subgraphIndex = 1


def set_signature_tensor(model: Any) -> None:
    model.signatureDefs[0].inputs[0].tensorIndex = 1 << 20


def remove_graphs(model: Any) -> None:
    model.subgraphs = []


def set_metadata(model: Any) -> None:
    model.metadata = [schema.MetadataT()]
    model.metadata[0].buffer = 500


def name_details(model: Any) -> None:
    model.subgraphs[0].tensors[0].quantization = schema.QuantizationParametersT()
    model.subgraphs[0].tensors[0].quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization


def remove_operators(model: Any) -> None:
    model.subgraphs[0].operators = None


def set_place(model: Any) -> None:
    model.buffers[1].data = None
    model.buffers[1].offset, model.buffers[1].size = 1000, 1 << 40


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "an operator code": (set_opcode, "an operator's code is none of the"),
    "a buffer": (set_buffer, "a tensor's buffer is none of the"),
    "an output": (set_output, "an input or output of a graph is none of the"),
    "an operand": (set_operand, "a tensor of an operator is none of the"),
    "an operand below the mark of a missing one": (set_left_out_too_far, "a tensor of an operator"),
    "a signature's graph": (set_signature_graph, "a signature's graph is none of the 1"),
    "a signature's tensor": (set_signature_tensor, "a signature's tensor is none of the"),
    "a metadata's buffer": (set_metadata, "a metadata's buffer is none of the"),
    "details of a quantization": (
        name_details,
        "a tensor's quantization names details that it does not have",
    ),
    "no operators": (remove_operators, "a graph has no tensors or no operators"),
    "no graph": (remove_graphs, "it has no graph"),
    "a buffer behind the model": (set_place, "a buffer behind the model lies outside the file"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_number_that_points_outside_its_list_is_refused(name: str) -> None:
    change, text = CHANGES[name]
    with pytest.raises(ManifestError, match=text):
        verify(changed_model(change))


@pytest.mark.parametrize("content", [digits_model(), half_without_signature(), sparse_half()])
def test_sound_files_pass(content: bytes) -> None:
    verify(content)


@pytest.mark.parametrize("length", [0, 3, 8, 40, 1000, 100_000, 384_000])
def test_a_file_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(ManifestError, match="it is damaged: "):
        verify(digits_model()[:length])


def place(table: Any, slot: int) -> int:
    """Where a field of a table stands in the file."""
    return int(table._tab.Pos + table._tab.Offset(4 + 2 * slot))


def spoiled(at: Callable[[Any], int], value: bytes) -> bytes:
    content = bytearray(digits_model())
    start = at(schema.Model.GetRootAs(content, 0))
    content[start : start + len(value)] = value
    return bytes(content)


def vtable_of(table: Any) -> int:
    return int(table._tab.Pos - struct.unpack_from("<i", table._tab.Bytes, table._tab.Pos)[0])


HUGE = struct.pack("<I", 0x7FFFFFFF)
BYTES: dict[str, tuple[Callable[[Any], int], bytes, str]] = {
    "the root": (lambda _: 0, HUGE, "Model lies outside the file"),
    "a list of graphs": (lambda model: place(model, 2), HUGE, "lies outside the file"),
    "the length of a list": (
        lambda model: place(model, 2) + struct.unpack_from("<I", model._tab.Bytes, place(model, 2))[0],
        HUGE,
        "Model 2 is longer than the file",
    ),
    "the distance to a vtable": (
        lambda model: model.Subgraphs(0)._tab.Pos,
        HUGE,
        "the vtable of SubGraph lies outside the file",
    ),
    "an odd vtable": (vtable_of, b"\x05\x00", "the vtable of Model is of a wrong size"),
    "a vtable of nothing": (vtable_of, b"\x02\x00", "is of a wrong size"),
    "a vtable beyond the file": (vtable_of, b"\xfe\xff", "lies outside its table"),
    "a field beyond its table": (
        lambda model: vtable_of(model) + 4,
        b"\xff\x7f",
        "a field of Model lies outside its table",
    ),
    "a name": (lambda model: place(model.Subgraphs(0).Tensors(0), 3), HUGE, "Tensor 3 lies outside the file"),
    "options": (
        lambda model: place(model.Subgraphs(0).Operators(0), 4),
        HUGE,
        "Operator 4 lies outside the file",
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_reference_that_leads_outside_is_refused(name: str) -> None:
    at, value, text = BYTES[name]
    with pytest.raises(ManifestError, match=text):
        verify(spoiled(at, value))


def test_a_small_file_whose_parts_are_shared_a_million_times_is_refused_at_once() -> None:
    builder = flatbuffers.Builder(1 << 20)
    count = 20_000
    schema.TensorStartShapeVector(builder, count)
    for _ in range(count):
        builder.PrependInt32(1)
    shape = builder.EndVector()
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    tensor = schema.TensorEnd(builder)
    schema.SubGraphStartTensorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(ManifestError, match="shared so often that reading it would take for ever"):
        verify(bytes(builder.Output()))


OPTIONS_AS_NUMBERS = {
    "a list longer than the file": (0, schema.BuiltinOptions.ConcatEmbeddingsOptions),
    "a list outside the file": (8, schema.BuiltinOptions.ReshapeOptions),
}


def with_options_of(operator: int, kind: int) -> bytes:
    """The options of an operator are said to be of another kind, so that numbers become references."""
    return spoiled(lambda model: place(model.Subgraphs(0).Operators(operator), 3), bytes((kind,)))


@pytest.mark.parametrize("name", OPTIONS_AS_NUMBERS)
@pytest.mark.parametrize("read", [unpack_model, read_graph])
def test_options_that_lead_outside_are_refused_by_what_reads_them(
    name: str, read: Callable[[bytes], object]
) -> None:
    content = with_options_of(*OPTIONS_AS_NUMBERS[name])
    verify(content)
    with pytest.raises(ManifestError, match=r"it is damaged: .* of an operator|an operator's options cannot"):
        read(content)


def test_options_that_are_no_whole_numbers_are_read() -> None:
    graph = read_graph(with_options_of(2, schema.BuiltinOptions.BucketizeOptions))
    assert any(isinstance(value, tuple) for value in graph.nodes[2].options.values())


def test_lists_of_a_graph_that_are_left_out_are_empty() -> None:
    def remove(model: Any) -> None:
        model.subgraphs[0].inputs = model.subgraphs[0].outputs = None

    content = changed_model(remove)
    verify(content)
    graph = unpack_model(content).subgraphs[0]
    assert (graph.inputs, graph.outputs) == ([], [])

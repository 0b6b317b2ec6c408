"""Lint on real files, with the real runtime and quantizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner, Result
from litert_quantizer import default_policy
from litert_quantizer.utils import tfl_flatbuffer_utils

from contract.errors import ConfigError, ManifestError
from contract.profile import Precision
from firmware_profiles import load_profile
from packager.cli import main
from packager.lint.facts import Border
from packager.lint.read import read_facts
from packager.lint.rules import INT8_OPERATORS
from packager.lint.run import lint_file, read_columns
from packager.preprocess import Geometry, plan_preprocessing, to_inputs
from packager.quantize import calibrate, quantize
from packager.runtime.flatbuffer import describe
from packager.sources.tflite import load_tflite
from tests.support.packager_builders import DIGITS, write_image
from tests.support.packager_models import (
    changed_model,
    crashing,
    digits_model,
    with_names_that_are_not_unique,
)
from tests.support.packager_unusual import (
    add_constant,
    add_tensor,
    floats_of,
    free_batch,
    half_without_signature,
    make_operator,
    sparse_half,
)

PI = load_profile("raspberry-pi-4")
UNIT = ((0.0,), (255.0,))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def with_operator_before_the_end(code: int) -> Callable[[Any], None]:
    """Put an operator with one input in front of the SOFTMAX."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        softmax = graph.operators[-1]
        logits = int(softmax.inputs[0])
        output = add_tensor(model, "activated", (1, 10), "float32")
        graph.operators.insert(-1, make_operator(model, code, [logits], [output]))
        softmax.inputs = np.array([output], np.int32)

    return change


def boxes_and_scores() -> bytes:
    """A model that joins values from 0 to 640 with the scores in one output, as detectors do."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        scores = int(graph.outputs[0])
        image_size = add_constant(model, "image_size", np.array([640], np.float32))
        boxes, joined = (
            add_tensor(model, "boxes", (1, 10), "float32"),
            add_tensor(model, "joined", (1, 20), "float32"),
        )
        scale = make_operator(model, schema.BuiltinOperator.MUL, [scores, image_size], [boxes])
        scale.builtinOptionsType, scale.builtinOptions = (
            schema.BuiltinOptions.MulOptions,
            schema.MulOptionsT(),
        )
        join = make_operator(model, schema.BuiltinOperator.CONCATENATION, [boxes, scores], [joined])
        join.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        join.builtinOptions = schema.ConcatenationOptionsT()
        join.builtinOptions.axis = 1
        graph.operators += [scale, join]
        graph.outputs = np.array([joined], np.int32)
        model.signatureDefs = None

    return changed_model(change)


def with_nan() -> bytes:
    def change(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[int(model.subgraphs[0].operators[0].inputs[1])]
        weights = floats_of(model, int(model.subgraphs[0].operators[0].inputs[1])).copy()
        weights.flat[5] = np.nan
        model.buffers[tensor.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)

    return changed_model(change)


def with_custom_operator() -> bytes:
    def change(model: Any) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "MyOwn"

    return changed_model(change)


def quantized() -> bytes:
    source = load_tflite(DIGITS / "digits-1.0.0.tflite")
    ranges = calibrate(
        source.content, Precision.DYNAMIC_INT8, source.source, [np.empty((0, 8, 8, 1), np.float32)]
    )
    return quantize(source.content, Precision.DYNAMIC_INT8, ranges)


def test_the_digits_model_has_no_findings() -> None:
    assert lint_file(DIGITS / "digits-1.0.0.tflite", [PI], DIGITS / "calibration", *UNIT) == ()


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (with_nan, "LF001", "hold NaN or infinities"),
        (with_custom_operator, "LF002", "unresolved custom op: MyOwn"),
        (quantized, "LF003", "constants are quantized"),
        (lambda: free_batch((-1, -1, 8, 1)), "LF004", "has shape (-1, -1, 8, 1)"),
        (lambda: changed_model(with_operator_before_the_end(schema.BuiltinOperator.EXP)), "LF006", "1 EXP"),
        (half_without_signature, "LF013", "10 float16 constants unfolded to float32"),
        (sparse_half, "LF014", "1 constants are stored sparse"),
        (with_names_that_are_not_unique, "LF015", "stand for more than one tensor"),
    ],
)
def test_a_fault_in_a_file_is_found(
    tmp_path: Path, make: Callable[[], bytes], code: str, message: str
) -> None:
    found = {one.code: one for one in lint_file(written(tmp_path, make()), [PI], None, *UNIT)}
    assert message in found[code].message


def test_boxes_and_scores_in_one_output_are_found_on_calibration_images(tmp_path: Path) -> None:
    path = written(tmp_path, boxes_and_scores())
    (found,) = [
        one for one in lint_file(path, [PI], DIGITS / "calibration", *UNIT) if one.severity.value == "warning"
    ]
    assert found.code == "LF005"
    assert (
        "of 20 columns of output joined move by 1 at most, all of them by 640: int8 leaves" in found.message
    )


def test_few_equal_images_of_one_class_are_found(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "images" / "cat" / f"{number}.png")
    found = lint_file(DIGITS / "digits-1.0.0.tflite", [PI], tmp_path / "images", *UNIT)
    assert [one.code for one in found] == ["LF008", "LF009", "LF010"]


def test_images_for_a_model_that_takes_none_are_wrong_usage(tmp_path: Path) -> None:
    path = written(tmp_path, free_batch((-1, -1, 8, 1)))
    with pytest.raises(ConfigError, match="images cannot be fed"):
        lint_file(path, [PI], DIGITS / "calibration", *UNIT)
    with pytest.raises(ConfigError, match="--std has 2 values, the model takes 1"):
        lint_file(DIGITS / "digits-1.0.0.tflite", [PI], DIGITS / "calibration", (0.0,), (1.0, 2.0))


def test_images_of_a_model_that_does_not_load_are_counted_and_not_run(tmp_path: Path) -> None:
    path = written(tmp_path, with_custom_operator())
    assert [one.code for one in lint_file(path, [PI], DIGITS / "calibration", *UNIT)] == ["LF002"]


def test_inputs_that_the_model_does_not_run_with_are_refused() -> None:
    border = Border(name="y", shape=(1, 10), dtype="float32")
    with pytest.raises(ManifestError, match="LiteRT does not run the model"):
        read_columns(digits_model(), (border,), [np.zeros((1, 9, 9, 1), np.float32)])


@pytest.mark.parametrize("content", [crashing(), digits_model()[:200_000]])
def test_a_damaged_file_is_refused_and_this_process_lives(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ManifestError, match=r"model.tflite (is damaged|cannot be used: it is damaged)"):
        lint_file(written(tmp_path, content), [], None, *UNIT)


# The table of int8 operators


def test_the_table_of_int8_operators_is_the_quantizers_own() -> None:
    policy = json.loads(default_policy.DEFAULT_JSON_POLICY)["ops_per_config"]["static_wi8_ai8"]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    known = tfl_flatbuffer_utils.TFL_OP_NAME_TO_CODE
    wanted = {names[int(known[op])] for op in policy if op not in {"INPUT", "OUTPUT"}}
    assert wanted == INT8_OPERATORS


@pytest.mark.parametrize(
    ("operator", "is_int8"), [("EXP", False), ("ELU", False), ("RELU", True), ("TANH", True)]
)
def test_an_operator_outside_the_table_stays_float_in_static_int8(
    tmp_path: Path, operator: str, *, is_int8: bool
) -> None:
    content = changed_model(with_operator_before_the_end(getattr(schema.BuiltinOperator, operator)))
    assert (operator in INT8_OPERATORS) == is_int8
    model = load_tflite(written(tmp_path, content))
    images = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    inputs = to_inputs(images, plan_preprocessing(Geometry(8, 8, 1), (0.0,), (255.0,)))
    made = quantize(
        content, Precision.STATIC_INT8, calibrate(content, Precision.STATIC_INT8, model.source, [inputs])
    )
    assert (operator in read_facts(made).operators) != is_int8
    assert operator in describe(made).operators


# The command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments])


def test_the_command_prints_findings_and_ends_well_without_errors(tmp_path: Path) -> None:
    result = run(str(written(tmp_path, half_without_signature())), "--profile", "raspberry-pi-4")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["warning LF008", "note LF013"]


def test_the_command_says_when_nothing_is_found() -> None:
    result = run(str(DIGITS / "digits-1.0.0.tflite"), "--calibration", str(DIGITS / "calibration"))
    assert (result.exit_code, result.stdout) == (0, "digits-1.0.0.tflite: nothing found\n")


def test_the_command_ends_with_1_on_an_error_and_prints_json(tmp_path: Path) -> None:
    result = run(str(written(tmp_path, with_nan())), "--json")
    assert result.exit_code == 1
    findings = json.loads(result.stdout)
    assert [(one["code"], one["severity"]) for one in findings] == [("LF001", "error"), ("LF008", "warning")]
    assert result.stderr.startswith("error: lint refuses model.tflite: LF001: ")


def test_wrong_usage_of_the_command_ends_with_2() -> None:
    assert run(str(DIGITS / "digits-1.0.0.tflite"), "--profile", "nothing").exit_code == 2
    assert run(str(DIGITS / "digits-1.0.0.tflite"), "--std", "0").exit_code == 2


def pack(folder: Path, content: bytes) -> Result:
    path = written(folder, content)
    request = ["--name", "digits", "--version", "1.0.0", "--profile", "generic-x86-64-small", "--no-cache"]
    images = ["--evaluation", str(DIGITS / "evaluation"), "--output", str(folder / "dist"), "--json"]
    return CliRunner().invoke(main, ["pack", str(path), *request, *images])


def test_pack_says_what_it_normalised_and_records_it(tmp_path: Path) -> None:
    result = pack(tmp_path, half_without_signature())
    assert result.exit_code == 0
    changes = ["signature made from 1 input and 1 output", "10 float16 constants unfolded to float32"]
    assert result.stderr == f"normalised model.tflite: {', '.join(changes)}; outputs are the same\n"
    report = json.loads(result.stdout)
    assert report["normalized"] == changes
    shown = CliRunner().invoke(main, ["inspect", report["bundles"][0], "--json"])
    assert json.loads(shown.stdout)["provenance"]["normalized"] == changes
    assert min(row["size_bytes"] for row in report["rows"]) <= 0.30 * len(digits_model())


def test_pack_stops_on_an_error_of_lint_and_writes_nothing(tmp_path: Path) -> None:
    result = pack(tmp_path, with_nan())
    assert result.exit_code == 1
    assert "LF001" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_pack_prints_the_warnings_of_lint_and_goes_on(tmp_path: Path) -> None:
    result = pack(tmp_path, with_names_that_are_not_unique())
    assert "warning: LF015: " in result.stderr


def test_the_command_fits_calibration_images_as_pack_does(tmp_path: Path) -> None:
    model = written(tmp_path, digits_model())
    for number in range(3):
        write_image(tmp_path / "images" / f"{number}.png", size=(20, 30), value=number)
    given = (str(model), "--calibration", str(tmp_path / "images"), "--json")
    assert run(*given).exit_code == 1
    fitted = run(*given, "--resize", "letterbox", "--pad", "114")
    assert "LF" in fitted.stdout  # three images are too few, which only who read them can say
    assert run(*given, "--resize", "stretch", "--bgr").exit_code == 2

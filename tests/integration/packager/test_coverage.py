"""What is predicted of XNNPACK against what the real runtime delegates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from contract.errors import RuntimeLoadError
from packager.cli import main
from packager.coverage import xnnpack
from packager.coverage.xnnpack import predict_xnnpack
from packager.runtime.delegation import measure_delegation
from packager.runtime.graph import read_graph
from tests.support import coverage_operators
from tests.support.coverage_graphs import GRAPHS, crashing_loader, separable
from tests.support.coverage_operators import Named
from tests.support.coverage_precisions import RECIPES, digits_in
from tests.support.packager_builders import DIGITS

Found = tuple[int, int, int]
SWEEPS: dict[str, tuple[Callable[[], Iterator[Named]], int]] = {
    "element-wise": (coverage_operators.element_wise, 250),
    "scales": (coverage_operators.scales, 75),
    "shapes": (coverage_operators.shapes, 200),
    "windows": (coverage_operators.windows, 60),
    "products": (coverage_operators.products, 150),
}
"""Sweep and how many of its models LiteRT loads at least; the plain kernels refuse the others."""


def predicted(content: bytes) -> Found:
    found = predict_xnnpack(read_graph(content))
    return found.nodes_total, found.nodes_delegated, found.partitions


def counted(content: bytes) -> Found:
    found = measure_delegation(content)
    return found.nodes_total, found.nodes_delegated, found.partitions


@pytest.mark.parametrize("name", GRAPHS)
def test_a_nets_delegation_is_predicted_to_the_node(name: str) -> None:
    content = GRAPHS[name]()
    assert predicted(content) == counted(content)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_digits_models_delegation_is_predicted_in_every_precision(recipe: str) -> None:
    content = digits_in(recipe)
    assert predicted(content) == counted(content)


def test_int16_activations_get_no_xnnpack_at_all() -> None:
    assert counted(digits_in("static_wi8_ai16"))[1:] == (0, 0)
    assert predicted(digits_in("static_wi8_ai16"))[1:] == (0, 0)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_use_of_an_operator_is_predicted(sweep: str) -> None:
    models, least = SWEEPS[sweep]
    loaded = 0
    wrong: list[tuple[str, Found, Found]] = []
    for name, content in models():
        guess = predicted(content)
        try:
            truth = counted(content)
        except RuntimeLoadError:
            continue
        loaded += 1
        if guess != truth:
            wrong.append((name, guess, truth))
    assert wrong == []
    assert loaded >= least


def test_the_sweeps_use_every_operator_that_has_an_implementation() -> None:
    used = {
        node.operator
        for models, _ in SWEEPS.values()
        for _, content in models()
        for node in read_graph(content).nodes
    } | {node.operator for make in GRAPHS.values() for node in read_graph(make()).nodes}
    missing = {name for name in xnnpack.CHECKS if not name.startswith("CUSTOM")} - used
    assert missing == {"PRELU"} - used


def test_the_command_shows_prediction_and_count_side_by_side(tmp_path: Path) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(separable())
    done = CliRunner().invoke(main, ["coverage", str(model), "--delegate", "xnnpack", "--measure"])
    assert done.exit_code == 0, done.output
    assert done.output == "xnnpack: 6 of 6 operators in 1 part\n  counted here: 6 of 6 operators in 1\n"


def test_the_commands_json_names_every_node_that_is_left_out(tmp_path: Path) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(GRAPHS["best class"]())
    done = CliRunner().invoke(main, ["coverage", str(model), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["xnnpack"]["left_out"] == [
        {"node": 1, "operator": "ARG_MAX", "rule": "operator", "detail": "no implementation of ARG_MAX"}
    ]
    assert found["edgetpu"]["nodes_delegated"] == 0
    assert "counted" not in found


def test_a_file_that_crashes_the_loader_is_still_predicted(tmp_path: Path) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(crashing_loader())
    done = CliRunner().invoke(main, ["coverage", str(model), "--measure", "--delegate", "xnnpack"])
    assert done.exit_code == 0, done.output
    assert "the TFLite loader crashed on it (signal " in done.output


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no model", "is no TFLite model"),
        ((DIGITS / "digits-1.0.0.tflite").read_bytes()[:3000], "cannot be used: it is damaged"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes, text: str) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(content)
    done = CliRunner().invoke(main, ["coverage", str(model)])
    assert done.exit_code == 1
    assert text in done.stderr


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["coverage", str(tmp_path / "none.tflite")])
    assert done.exit_code == 1
    assert "cannot be read: No such file or directory" in done.stderr

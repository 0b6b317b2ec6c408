"""What is decided about sources of other frameworks: format, hostility, agreement, and the line that says why not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ManifestError
from packager.sources.agreement import MAX_RELATIVE_ERROR, compare
from packager.sources.archive import read_json_members
from packager.sources.converters.keras_config import code_faults
from packager.sources.distil import distil
from packager.sources.formats import Format, choose_format
from packager.sources.keras import check_keras, keras_converter
from packager.sources.locks import read_lock
from packager.sources.onnx import onnx_converter
from packager.sources.savedmodel import savedmodel_converter
from packager.sources.snapshot import take_snapshot
from packager.sources.torch import check_program, torch_converter
from tests.support.packager_conversion import converter, write_archive

# Formats.


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.tflite", Format.TFLITE),
        ("a.keras", Format.KERAS),
        ("A.H5", Format.KERAS),
        ("a.b.hdf5", Format.KERAS),
        ("a.onnx", Format.ONNX),
        ("a.pt2", Format.TORCH),
    ],
)
def test_a_file_is_known_by_its_suffix(name: str, wanted: Format) -> None:
    assert choose_format(name, is_folder=False, has_saved_model=False) is wanted


def test_a_folder_is_known_by_what_it_holds() -> None:
    assert choose_format("model.onnx", is_folder=True, has_saved_model=True) is Format.SAVED_MODEL
    with pytest.raises(ManifestError, match=r"the folder export holds no saved_model\.pb"):
        choose_format("export", is_folder=True, has_saved_model=False)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("model.pt", r"torch.export.save"),
        ("model.pth", r"torch.export.save"),
        ("saved_model.pb", r"give the folder"),
        ("model", r"give a .tflite"),
        ("notes.txt", r"give a .tflite"),
    ],
)
def test_another_form_is_refused_with_the_one_to_give(name: str, remedy: str) -> None:
    with pytest.raises(ManifestError, match="does not end in one of") as refused:
        choose_format(name, is_folder=False, has_saved_model=False)
    assert remedy in refused.value.remedy


# Converters and their locks.


@pytest.mark.parametrize(
    "made",
    [
        keras_converter(".keras"),
        keras_converter(".h5"),
        savedmodel_converter(),
        onnx_converter(),
        torch_converter(),
    ],
    ids=lambda one: one.module + one.source_name,
)
def test_every_converter_has_a_program_and_a_lock_of_hashes_without_addresses(made: Any) -> None:
    assert (made.programs / f"{made.module}.py").is_file()
    lines = [line for line in made.lock.splitlines() if line and not line.startswith(" ")]
    assert len(lines) > 10
    assert all("==" in line and line.endswith("\\") for line in lines)
    assert "--hash=sha256:" in made.lock
    assert "://" not in made.lock
    assert "index" not in {line.split("=")[0].strip("- ") for line in made.lock.splitlines()}


def test_pytorch_itself_is_pinned_beside_the_lock_and_no_cuda_package_is_in_it() -> None:
    assert torch_converter().unlocked == ("torch==2.13.0",)
    names = [line.split("==")[0] for line in read_lock("torch").splitlines() if "==" in line]
    assert not [name for name in names if name == "torch" or name.startswith(("nvidia", "cuda", "triton"))]


def test_another_lock_is_another_environment() -> None:
    one, other = converter(lock="a==1"), converter(lock="a==2")
    assert one.folder_name != other.folder_name
    assert one.folder_name != converter(lock="a==1", unlocked=("b==1",)).folder_name
    assert one.folder_name == converter(lock="a==1").folder_name


# The line that says why not.


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("", ""),
        ("\n---\n", ""),
        ("all went well\n", "all went well"),
        (
            'Traceback (most recent call last):\n  File "x"\nValueError: no such op\n',
            "ValueError: no such op",
        ),
        ("Error: first\nerror: second\nbye\n", "error: second"),
        ("\x1b[31mERROR: \x1b[0mred\n", "ERROR: red"),
        (" 10%|#  \r 20%|## \rRuntimeError: in a bar\n", "RuntimeError: in a bar"),
        ("E0000 00:00:17.5 12 x.cc:4] failed\nFatal thing\n", "Fatal thing"),
        ("(00:01) step\nop Foo is not supported\n", "op Foo is not supported"),
        ("Error: " + "x" * 1000, "Error: " + "x" * 293),
    ],
)
def test_a_long_log_becomes_its_telling_line(log: str, wanted: str) -> None:
    assert distil(log) == wanted


# Agreement.


def rows(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def test_rounding_agrees_and_a_wrong_answer_does_not() -> None:
    expected = rows(4, 1, 10)
    (close,) = compare({"y": expected}, {"y": expected * np.float32(1 + 1e-6)})
    assert close.is_close
    assert 0 < close.error < MAX_RELATIVE_ERROR
    (wrong,) = compare({"y": expected}, {"y": expected[..., ::-1]})
    assert not wrong.is_close
    assert "output y (1, 10): largest difference" in wrong.describe()
    assert "over 4 inputs, at most 0.001 is accepted" in wrong.describe()


def test_an_output_with_its_channels_turned_is_compared_turned() -> None:
    expected = rows(4, 1, 3, 8, 6)
    (turned,) = compare({"mask": expected}, {"mask": np.moveaxis(expected, 2, -1)})
    assert turned.is_close
    assert (turned.source_shape, turned.shape) == ((1, 3, 8, 6), (1, 8, 6, 3))


def test_where_both_orders_have_one_shape_the_better_counts() -> None:
    expected = rows(4, 1, 8, 8, 8)
    assert compare({"y": expected}, {"y": expected})[0].is_close
    assert compare({"y": expected}, {"y": np.moveaxis(expected, 2, -1)})[0].is_close
    assert not compare({"y": expected}, {"y": np.swapaxes(expected, 3, 4)})[0].is_close


@pytest.mark.parametrize("found", [{}, {"y": rows(4, 1, 9)}])
def test_an_output_that_is_missing_or_of_another_shape_does_not_agree(found: dict[str, Any]) -> None:
    (missing,) = compare({"y": rows(4, 1, 10)}, found)
    assert not missing.is_close
    assert missing.describe() == "output y (1, 10) is missing, or has another shape"


def test_what_is_not_finite_must_be_so_in_both() -> None:
    expected = rows(2, 1, 4)
    expected[0, 0] = [np.nan, np.inf, -np.inf, 1]
    assert compare({"y": expected}, {"y": expected.copy()})[0].error == 0
    spoiled = expected.copy()
    spoiled[0, 0, 0] = 0
    assert compare({"y": expected}, {"y": spoiled})[0].error == pytest.approx(1 / 8)


def test_of_whole_numbers_one_in_a_hundred_may_differ() -> None:
    expected = np.zeros((1, 200), dtype=np.int64)
    one, many = expected.copy(), expected.copy()
    one[0, 0], many[0, :3] = 1, 1
    assert compare({"y": expected}, {"y": one})[0].is_close
    assert not compare({"y": expected}, {"y": many})[0].is_close


def test_empty_outputs_agree() -> None:
    for dtype in (np.float32, np.int64):
        empty = np.zeros((2, 0), dtype=dtype)
        assert compare({"y": empty}, {"y": empty})[0].error == 0


# Hostile and damaged files.


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"class_name": "Lambda", "config": {"name": "x"}}, "Lambda x carries code"),
        ({"config": {"layers": [{"class_name": "TFSMLayer", "config": {}}]}}, "TFSMLayer carries code"),
        ({"class_name": "__lambda__", "config": {"value": "4wEA"}}, "__lambda__ carries code"),
        (
            {"class_name": "function", "config": "system", "module": "os"},
            "function system of os is no part of Keras",
        ),
        (
            {"class_name": "Evil", "module": "keras_evil", "config": 1},
            "Evil of keras_evil is no part of Keras",
        ),
    ],
)
def test_a_keras_model_with_code_is_found(config: Any, fault: str) -> None:
    assert code_faults(config) == [fault]


def test_a_keras_model_without_code_is_taken() -> None:
    dense = {
        "class_name": "Dense",
        "module": "keras.layers",
        "config": {"activation": "relu", "module": None},
    }
    assert code_faults({"class_name": "Functional", "config": {"layers": [dense, dense]}}) == []


def test_a_configuration_too_large_to_look_through_counts_as_code() -> None:
    (fault,) = code_faults([0] * 1_000_001)
    assert "too large" in fault


def test_a_keras_archive_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"has no config\.json"):
        check_keras(write_archive(tmp_path / "m.keras", {"assets/config.json": {}}), "m.keras")


def program(**changes: Any) -> dict[str, Any]:
    node = {"target": "torch.ops.aten.relu.default", "inputs": [], "outputs": []}
    size = {"as_expr": {"expr_str": "Symbol('s31', positive=True, integer=True)"}}
    return {"graph_module": {"graph": {"nodes": [node | changes], "sizes": [size]}}}


def test_a_program_of_pytorchs_own_operators_is_taken(tmp_path: Path) -> None:
    members = {"m/models/model.json": program(), "m/data/config.json": {"target": "whatever"}}
    check_program(write_archive(tmp_path / "m.pt2", members), "m.pt2")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"target": "torch.os.system"}, "the graph calls torch.os.system"),
        ({"target": "torch.ops.load_library"}, "the graph calls torch.ops.load_library"),
        ({"expr_str": "__import__('os').system('id')"}, "a size is __import__('os').system('id')"),
        ({"expr_str": "exec(chr(1))"}, "a size is exec(chr(1))"),
    ],
)
def test_a_program_that_would_execute_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    path = write_archive(tmp_path / "m.pt2", {"m/models/model.json": program(**changes)})
    with pytest.raises(ManifestError, match="may execute code") as refused:
        check_program(path, "m.pt2")
    assert refused.value.faults == (fault,)


def test_an_archive_that_is_no_program_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "m.pt2", {"m/data.json": {}, "m/list.json": []})
    with pytest.raises(ManifestError, match="is no exported PyTorch program"):
        check_program(path, "m.pt2")


def test_a_member_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "m.pt2", {"m/model.json": "{"})
    with pytest.raises(ManifestError, match=r"m/model\.json is no JSON"):
        list(read_json_members(path, "m.pt2", ".json"))


def test_an_archive_with_a_spoiled_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", json.dumps(list(range(10_000))))
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="is damaged, or no such model"):
        list(read_json_members(path, "m.pt2", ".json"))


# Snapshots.


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    return folder


def test_a_folder_has_one_digest_wherever_it_is_and_is_copied_whole(tmp_path: Path) -> None:
    one = take_snapshot(saved_model(tmp_path / "a"), tmp_path / "copy")
    assert one == take_snapshot(saved_model(tmp_path / "b" / "c"), tmp_path / "other")
    assert (tmp_path / "copy" / "variables" / "data").read_bytes() == b"weights"
    (tmp_path / "a" / "variables" / "data").write_bytes(b"Weights")
    assert take_snapshot(tmp_path / "a", tmp_path / "third") != one


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "a")
    (folder / "assets").symlink_to("/etc")
    with pytest.raises(ManifestError, match="is a link or special file"):
        take_snapshot(folder, tmp_path / "copy")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        take_snapshot(tmp_path / "m.onnx", tmp_path / "copy")


def test_a_source_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(bytes(100))
    with pytest.raises(ManifestError, match="is too large"):
        take_snapshot(tmp_path / "m.onnx", tmp_path / "copy", 99)
    folder = saved_model(tmp_path / "a")
    with pytest.raises(ManifestError, match="is too large"):
        take_snapshot(folder, tmp_path / "copies", len(b"graphweights") - 1)

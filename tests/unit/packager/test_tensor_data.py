"""Samples from .csv and .npz files that nobody vouches for."""

from __future__ import annotations

import contextlib
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ConfigError, ManifestError
from contract.tensor import DType
from packager.tasks import csv_table, npz
from packager.tasks.arrays import ArraySamples, as_input
from packager.tasks.csv_table import read_csv
from packager.tasks.npz import read_npz
from packager.tasks.tensor_data import load_calibration_tensors, names, open_tensors
from tests.support.task_builders import spec

INPUTS = [spec("x", 1, 2), spec("mode", 1, dtype=DType.INT32)]


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "samples.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def npz_file(folder: Path, **arrays: Any) -> Path:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return path


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.asarray(array))
    return sink.getvalue()


def archive(folder: Path, **members: bytes) -> Path:
    path = folder / "samples.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def test_columns_are_found_by_the_names_of_the_inputs_and_not_by_their_place(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "mode,note,x[1],x[0]\n3,good,2.5,1\n\n4,bad,4e0,-3\n")
    samples = open_tensors(path, "evaluation").samples(INPUTS, ())
    x, mode = samples.inputs(range(2))
    assert x.tolist() == [[1.0, 2.5], [-3.0, 4.0]]
    assert mode.tolist() == [3, 4]
    assert [str(values.dtype) for values in (x, mode)] == ["float32", "int32"]
    assert mode.shape == (2,)


def test_features_name_the_columns_in_the_order_of_the_inputs_values(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "\ufeffb,a,kind\n1,2,3\n")
    samples = open_tensors(path, "evaluation").samples(INPUTS, names("a, b,kind"))
    assert [values.tolist() for values in samples.inputs([0])] == [[[2.0, 1.0]], [3]]
    assert "a" in samples.preparation


def test_an_npz_has_an_array_for_each_input_of_any_shape(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    path = npz_file(tmp_path, x=np.asfortranarray(image), mode=np.array([1, 2], dtype=">i8"))
    samples = open_tensors(path, "evaluation").samples([spec("x", -1, 3, 4), INPUTS[1]], ())
    x, mode = samples.inputs([1])
    assert x.tolist() == image[1:].tolist()
    assert (str(x.dtype), mode.tolist()) == ("float32", [2])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x[0],x[1]\n1,2\n", "no column 'mode[0]' (1 of 3 are missing); it has x[0], x[1]"),
        ("x[0],x[1],mode\n1,2\n", "line 2: 2 cells under 3 columns"),
        ("x[0],x[1],mode\n1,,3\n", "line 2: column 'x[1]' is empty"),
        ("x[0],x[1],mode\n1,2,3\n1,nan,3\n", "line 3: column 'x[1]' holds 'nan', which is no number"),
        ("x[0],x[1],mode\n1,two,3\n", "line 2: column 'x[1]' holds 'two'"),
        ("x[0],x[1],mode\n1,2,3.5\n", "sample 1 has a value that input mode cannot hold, it is int32"),
        ("x[0],x[1],mode\n1,2,3e10\n", "sample 1 has a value that input mode cannot hold"),
        ("x[0],x[1],mode\n1e300,2,3\n", "sample 1 has a value that is missing, infinite or too large"),
        ("x[0],x[1],mode\n", "has no row below its header"),
        ('x[0],x[1],mode\n1,"2,3\n', "line"),
        ("1,2,3\n4,5,6\n", "has numbers in its first line"),
        ("x[0],x[0],mode\n1,2,3\n", "has two columns 'x[0]'"),
        ("x[0],,mode\n1,2,3\n", "a column without a name"),
        ("", "a column without a name"),
        (b"x[0],\xff\n", "is no UTF-8 text"),
        ('"x', "is no UTF-8 text with comma-separated cells"),
    ],
)
def test_a_csv_that_would_need_guessing_is_refused(tmp_path: Path, text: str | bytes, wanted: str) -> None:
    with pytest.raises(ManifestError) as caught:
        open_tensors(csv_file(tmp_path, text), "evaluation").samples(INPUTS, ())
    assert wanted in str(caught.value)


def test_a_csv_without_the_named_target_tells_the_nearest(tmp_path: Path) -> None:
    table = read_csv(csv_file(tmp_path, "pressure,powr\n1,2\n"), "evaluation")
    with pytest.raises(ManifestError, match="no column 'power'") as caught:
        table.words("power")
    assert "powr" in caught.value.remedy
    with pytest.raises(ManifestError, match="no row"):
        read_csv(csv_file(tmp_path, "a\n"), "evaluation").words("a")


def test_another_number_of_features_than_values_is_told_input_by_input(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b\n1,2\n")
    with pytest.raises(ConfigError, match="2 features are named, the model takes 3 values: x 2, mode 1"):
        open_tensors(path, "evaluation").samples(INPUTS, ("a", "b"))


def test_a_csv_above_the_bounds_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="larger than 0 MiB"):
        read_csv(csv_file(tmp_path, "a\n" * 100), "evaluation", max_bytes=50)
    wide = ",".join(f"c{number}" for number in range(csv_table.MAX_COLUMNS + 1))
    with pytest.raises(ManifestError, match="at most 65536 are read"):
        read_csv(csv_file(tmp_path, wide), "evaluation")


@pytest.mark.parametrize(("name", "wanted"), [("none.csv", "does not exist"), ("a.txt", "neither .csv nor")])
def test_what_is_no_such_file_is_refused(tmp_path: Path, name: str, wanted: str) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ManifestError, match=wanted):
        open_tensors(tmp_path / name, "evaluation")
    with pytest.raises(ManifestError, match="is a folder"):
        open_tensors(tmp_path, "evaluation")


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ({"x": np.zeros((3, 2))}, "has no array 'mode'"),
        ({"x": np.zeros((3, 2)), "mode": np.zeros(2, dtype=int)}, "several lengths: x 3, mode 2"),
        ({"x": np.zeros((3, 5)), "mode": np.zeros(3, dtype=int)}, "has shape (3, 5), input x takes (2,)"),
        ({"x": np.array("a"), "mode": np.zeros(3, dtype=int)}, "holds <U1, numbers are needed"),
        ({"x": np.zeros((0, 2)), "mode": np.zeros(0, dtype=int)}, "holds no sample"),
        ({"x": np.array([{}], dtype=object), "mode": np.zeros(1)}, "holds object, numbers are needed"),
        ({"x": np.full((1, 2), np.inf), "mode": np.zeros(1)}, "sample 1 has a value that is missing"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ManifestError) as caught:
        open_tensors(npz_file(tmp_path, **arrays), "evaluation").samples(INPUTS, ())
    assert wanted in str(caught.value)


def test_a_header_that_promises_more_than_the_member_holds_takes_no_memory(tmp_path: Path) -> None:
    content = npy(np.zeros((2, 2)))
    huge = content.replace(b"(2, 2)", b"(2, 9)")
    with pytest.raises(ManifestError, match="does not have the size that its shape"):
        read_npz(archive(tmp_path, x=huge), "evaluation")


def test_a_zip_that_unpacks_to_more_than_is_read_is_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path, x=npy(np.zeros(100_000)))
    assert path.stat().st_size < 5_000
    with pytest.raises(ManifestError, match="unpacks to 800,128 bytes, at most 10,000"):
        read_npz(path, "evaluation", max_bytes=10_000)


def test_a_member_that_is_longer_than_the_index_admits_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, x=npy(np.zeros(1000)))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (528).to_bytes(4, "little")  # uncompressed size in the index
    path.write_bytes(content)
    with pytest.raises(ManifestError):
        read_npz(path, "evaluation")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x09\x00aa{}aaaaaaaaaaaaaa",
        b"\x93NUMPY\x01\x00\x0a\x00__import__" + b" " * 8,
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 8,
        b"\x93NUMPY\x01\x00\x40\x00{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }".ljust(75),
        b"\x93NUMPY\x01\x00\x40\x00" + b"(" * 64,
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ManifestError):
        read_npz(archive(tmp_path, x=content), "evaluation")


@given(changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_spoiled_npz_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    path = npz_file(folder, x=np.arange(6.0).reshape(3, 2), mode=np.arange(3))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with contextlib.suppress(ManifestError):
        assert all(values.size <= 64 for values in read_npz(path, "evaluation").arrays.values())
    shutil.rmtree(folder)


def test_what_is_no_zip_of_arrays_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "no zip").rename(tmp_path / "samples.npz")
    with pytest.raises(ManifestError, match=r"no \.npz that can be read"):
        read_npz(path, "evaluation")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("evil.pkl", b"x")
    with pytest.raises(ManifestError, match=r"holds 'evil\.pkl', which is no array"):
        read_npz(path, "evaluation")
    with pytest.raises(ManifestError, match="at most 256"):
        read_npz(archive(tmp_path, **{f"a{n}": b"" for n in range(npz.MAX_ARRAYS + 1)}), "evaluation")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", npy(0))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", npy(1))
    with pytest.raises(ManifestError, match="holds 'x' twice"):
        read_npz(path, "evaluation")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_npz(tmp_path / "none.npz", "evaluation")


def test_targets_of_an_npz_stand_under_the_outputs_name_or_the_option(tmp_path: Path) -> None:
    output = spec("y", 1, 2)
    for key in ("y", "target"):
        file = open_tensors(npz_file(tmp_path, x=np.zeros((3, 2)), **{key: np.ones((3, 2))}), "evaluation")
        assert file.targets(("target",), output, is_only=True).tolist() == [[1.0, 1.0]] * 3
    with pytest.raises(ManifestError, match="no array 'y'"):
        file.targets(("target",), output, is_only=False)
    for bad, wanted in (
        (np.ones((3, 3)), "output y gives"),
        (np.full((3, 2), np.nan), "missing or infinite"),
    ):
        file = open_tensors(npz_file(tmp_path, y=bad), "evaluation")
        with pytest.raises(ManifestError, match=wanted):
            file.targets(("target",), output, is_only=True)


def test_calibration_samples_are_mixed_and_not_too_many(tmp_path: Path) -> None:
    inputs = [spec("x", 1, 2)]
    path = npz_file(tmp_path, x=np.arange(200.0).reshape(100, 2))
    found = load_calibration_tensors(path, inputs, ())
    assert found is not None
    (values,) = found.inputs(range(100))
    assert sorted(values[:, 0].tolist()) == list(range(0, 200, 2))
    assert values[:, 0].tolist() != list(range(0, 200, 2))
    again = load_calibration_tensors(path, inputs, ())
    assert again is not None
    assert (again.inputs(range(100))[0] == values).all()
    with pytest.raises(ManifestError, match="at most 5000 are used"):
        load_calibration_tensors(npz_file(tmp_path, x=np.zeros((5001, 2))), inputs, ())
    assert load_calibration_tensors(None, inputs, ()) is None


def test_equal_samples_have_equal_digests() -> None:
    samples = ArraySamples((np.array([[1.0], [2.0], [1.0]]), np.array([5, 5, 5])), "sha", "by name")
    first, second, third = samples.digests
    assert first == third != second


def test_whole_numbers_and_flags_are_kept_as_they_are() -> None:
    flags = as_input(np.array([[1], [0]]), spec("on", 1, 1, dtype=DType.BOOL), "file")
    assert flags.tolist() == [[True], [False]]
    with pytest.raises(ManifestError, match="cannot hold"):
        as_input(np.array([[2]]), spec("on", 1, 1, dtype=DType.BOOL), "file")
    assert as_input(np.array([7, 8]), spec("x", dtype=DType.INT64), "file").tolist() == [7, 8]
    with pytest.raises(ManifestError, match=r"takes \(\) for each sample"):
        as_input(np.zeros((2, 3)), spec("x"), "file")
    with pytest.raises(ManifestError, match="holds no sample"):
        as_input(np.array(1.0), spec("x"), "file")

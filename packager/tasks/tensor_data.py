"""Inputs and truth of models that take numbers and no pictures, from one ``.csv`` or ``.npz`` file.

Guarantees: every value has a column or an array that is named for it; columns are never taken by their place.

A ``.csv`` has a column per value: ``<input>[0]``, ``<input>[1]``, ... in row-major order, or just ``<input>`` where it
has one value; or the columns that ``features`` names, in the order of the inputs' values. An ``.npz`` has an array
(samples, ...) per input, under its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError, ManifestError
from contract.identifiers import nearest
from contract.tensor import TensorSpec
from packager.tasks.arrays import ArraySamples, as_input, sample_elements
from packager.tasks.csv_table import CsvTable, read_csv
from packager.tasks.npz import ArrayFile, read_npz
from packager.tasks.task import Array

CALIBRATION_MAX_SAMPLES = 5_000
"""As for images: a few hundred settle the ranges."""
_NAMES_SHOWN = 12


def names(value: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns: a list from ``litefleet.toml``, or a text with commas from the command line."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


@dataclass(frozen=True)
class TensorFile:
    """A file of samples that was opened; one of the two is there.

    Attributes:
        table: Of a ``.csv``.
        arrays: Of an ``.npz``.
    """

    table: CsvTable | None
    arrays: ArrayFile | None
    what: str

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        found = self.table or self.arrays
        assert found is not None  # noqa: S101 - open_tensors sets one
        return found.sha256

    def samples(self, specs: Sequence[TensorSpec], features: Sequence[str]) -> ArraySamples:
        """The inputs.

        Raises:
            ManifestError: A column or array is missing, or does not fit.
            ConfigError: ``features`` are not as many as the inputs' values.
        """
        if self.table is not None:
            arrays = _from_columns(self.table, specs, features)
        else:
            arrays = tuple(
                as_input(self.array(spec.name), spec, f"{self.what}: {spec.name!r}") for spec in specs
            )
            _check_same_length(arrays, [spec.name for spec in specs], self.what)
        return ArraySamples(arrays, self.sha256, f"columns {list(features)}" if features else "by name")

    def array(self, name: str) -> Array:
        """An array of an ``.npz``.

        Raises:
            ManifestError: There is none of that name.
        """
        assert self.arrays is not None  # noqa: S101 - asked of .npz files only
        if name not in self.arrays.arrays:
            raise ManifestError(
                f"{self.what} has no array {name!r}", remedy=nearest(name, self.arrays.arrays)
            )
        return self.arrays.arrays[name]

    def targets(self, columns: Sequence[str], spec: TensorSpec, *, is_only: bool) -> npt.NDArray[np.float64]:
        """(N, values) float64: what is true of an output.

        Args:
            columns: Of a ``.csv``, or the array of an ``.npz`` where there is one output.
            spec: The output.
            is_only: Whether there is no other.

        Raises:
            ManifestError: Missing, another number of values, or not finite.
        """
        if self.table is not None:
            if len(columns) != sample_elements(spec):
                raise ManifestError(
                    f"output {spec.name} has {sample_elements(spec)} values, {len(columns)} target columns are named",
                    remedy="name a column for each, for example --task-option target=a,b",
                )
            return self.table.numbers(columns)
        name = spec.name
        assert self.arrays is not None  # noqa: S101 - the other kind of file
        if is_only and name not in self.arrays.arrays and len(columns) == 1:
            (name,) = columns
        values = self.array(name)
        what = f"{self.what}: {name!r}"
        if values.dtype.kind not in "fiub" or values.size != len(values) * sample_elements(spec):
            raise ManifestError(f"{what} has shape {values.shape}, output {spec.name} gives {spec.shape}")
        flat: npt.NDArray[np.float64] = values.reshape(len(values), -1).astype(np.float64)
        if not np.isfinite(flat).all():
            raise ManifestError(f"{what} has values that are missing or infinite")
        return flat


def open_tensors(path: Path, purpose: str) -> TensorFile:
    """Open a file by its ending.

    Raises:
        ManifestError: There is none, it is of another kind, or cannot be read.
    """
    what = f"{purpose} file {path.name}"
    if path.is_dir() or not path.exists():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ManifestError(f"{purpose} {path} {found}", remedy="give a .csv or .npz file")
    if path.suffix.lower() == ".csv":
        return TensorFile(read_csv(path, purpose), None, what)
    if path.suffix.lower() == ".npz":
        return TensorFile(None, read_npz(path, purpose), what)
    raise ManifestError(f"{what} is neither .csv nor .npz", remedy="save it as one of the two")


def load_calibration_tensors(
    path: Path | None, specs: Sequence[TensorSpec], features: Sequence[str]
) -> ArraySamples | None:
    """Read calibration samples, mixed; None for no file.

    Raises:
        ManifestError: They do not fit, or are too many.
        ConfigError: See ``TensorFile.samples``.
    """
    if path is None:
        return None
    found = open_tensors(path, "calibration").samples(specs, features)
    check_calibration_count(len(found), f"calibration file {path.name}")
    return found.mixed()


def check_calibration_count(count: int, what: str) -> None:
    """Refuse more calibration samples than are of use.

    Raises:
        ManifestError: There are more.
    """
    if count > CALIBRATION_MAX_SAMPLES:
        raise ManifestError(
            f"{what} has {count} samples, at most {CALIBRATION_MAX_SAMPLES} are used",
            remedy="a few hundred that look like the field are enough",
        )


def column_names(specs: Sequence[TensorSpec], header: Sequence[str]) -> tuple[str, ...]:
    """Name of the column of each value of each input."""
    found: list[str] = []
    for spec in specs:
        size = sample_elements(spec)
        if size == 1 and spec.name in header:
            found.append(spec.name)
        else:
            found += [f"{spec.name}[{number}]" for number in range(size)]
    return tuple(found)


def _from_columns(table: CsvTable, specs: Sequence[TensorSpec], features: Sequence[str]) -> tuple[Array, ...]:
    sizes = [sample_elements(spec) for spec in specs]
    if features and len(features) != sum(sizes):
        raise ConfigError(
            f"{len(features)} features are named, the model takes {sum(sizes)} values: "
            + ", ".join(f"{spec.name} {size}" for spec, size in zip(specs, sizes, strict=True))
        )
    columns = tuple(features) or column_names(specs, table.header)
    missing = [name for name in columns if name not in table.header]
    if missing:
        shown = ", ".join(table.header[:_NAMES_SHOWN]) + (", ..." if len(table.header) > _NAMES_SHOWN else "")
        raise ManifestError(
            f"{table.what} has no column {missing[0]!r} ({len(missing)} of {len(columns)} are missing); it has {shown}",
            remedy="name the columns of the model's inputs in their order, for example --task-option features=a,b",
        )
    values = table.numbers(columns)
    starts = np.cumsum([0, *sizes])
    return tuple(
        as_input(values[:, start : start + size], spec, table.what)
        for spec, start, size in zip(specs, starts, sizes, strict=False)
    )


def _check_same_length(arrays: Sequence[Array], keys: Sequence[str], what: str) -> None:
    if len({len(array) for array in arrays}) > 1:
        found = ", ".join(f"{key} {len(array)}" for key, array in zip(keys, arrays, strict=True))
        raise ManifestError(f"{what} has arrays of several lengths: {found}")


def check_length(values: Sequence[object] | Array, samples: ArraySamples, what: str) -> None:
    """Refuse truth that is not as long as the samples.

    Raises:
        ManifestError: It is not.
    """
    if len(values) != len(samples):
        raise ManifestError(f"{what} has {len(samples)} samples and {len(values)} targets")

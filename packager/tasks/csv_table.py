"""Reads columns of ``.csv`` files by the names in their header.

Guarantees: the file is bounded; every row has a cell for every column; a cell that is needed and holds no finite number
is refused with its line and column, because filling it in would be guessing.
"""

from __future__ import annotations

import array
import csv
import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.identifiers import nearest

MAX_BYTES = 256 << 20
MAX_COLUMNS = 65_536
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class CsvTable:
    """A file whose header was read.

    Attributes:
        what: How to call it in error texts.
        header: Names of the columns, each once.
        text: All of it.
        sha256: Digest of the file.
    """

    what: str
    header: tuple[str, ...]
    text: str
    sha256: str

    def numbers(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """(rows, names) float64.

        Raises:
            ManifestError: No such column, no row, or a cell without a finite number.
        """
        places = [self._place(name) for name in names]
        values = array.array("d")
        rows = 0
        for line, row in self._rows():
            rows += 1
            for place, name in zip(places, names, strict=True):
                values.append(self._number(row[place], line, name))
        if not rows:
            raise self._empty()
        return np.frombuffer(values, dtype=np.float64).reshape(rows, len(names))

    def words(self, name: str) -> list[str]:
        """One column as texts, without blanks around them.

        Raises:
            ManifestError: No such column, or no row.
        """
        place = self._place(name)
        found = [row[place].strip() for _, row in self._rows()]
        if not found:
            raise self._empty()
        return found

    def _empty(self) -> ManifestError:
        return ManifestError(f"{self.what} has no row below its header")

    def _place(self, name: str) -> int:
        if name not in self.header:
            raise ManifestError(
                f"{self.what} has no column {name[:_SHOWN_CHARS]!r}", remedy=nearest(name, self.header[:50])
            )
        return self.header.index(name)

    def _number(self, cell: str, line: int, name: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            shown = f"holds {cell[:_SHOWN_CHARS]!r}, which is no number" if cell.strip() else "is empty"
            raise ManifestError(
                f"{self.what}, line {line}: column {name!r} {shown}",
                remedy="leave the row out, or fill it in as your application does",
            )
        return value

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of each row below the header; empty lines are no rows."""
        reader = csv.reader(io.StringIO(self.text, newline=""), strict=True)
        try:
            next(reader)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(self.header):
                    raise ManifestError(
                        f"{self.what}, line {reader.line_num}: {len(row)} cells under {len(self.header)} columns"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise ManifestError(f"{self.what}, line {reader.line_num}: {error}") from error


def read_csv(path: Path, purpose: str, max_bytes: int = MAX_BYTES) -> CsvTable:
    """Read a file and its header.

    Args:
        path: UTF-8 text, cells separated by commas, names of the columns in the first line.
        purpose: ``evaluation`` or ``calibration``, for error texts.
        max_bytes: How large it may be.

    Raises:
        ManifestError: It cannot be read, is too large, or has no header with a name for each column.
    """
    what = f"{purpose} file {path.name}"
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ManifestError(f"{what} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise ManifestError(f"{what} is larger than {max_bytes >> 20} MiB", remedy="give it as .npz")
    try:
        text = content.decode("utf-8-sig")
        header = [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), strict=True), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{what} is no UTF-8 text with comma-separated cells") from error
    _check_header(header, what)
    return CsvTable(what, tuple(header), text, hashlib.sha256(content).hexdigest())


def _check_header(header: Sequence[str], what: str) -> None:
    if len(header) > MAX_COLUMNS:
        raise ManifestError(f"{what} has {len(header)} columns, at most {MAX_COLUMNS} are read")
    if not header or not all(header):
        raise ManifestError(
            f"{what} has a column without a name",
            remedy="its first line must name the columns, separated by commas",
        )
    double = (
        [name for name in dict.fromkeys(header) if header.count(name) > 1]
        if len(set(header)) < len(header)
        else []
    )
    if double:
        raise ManifestError(f"{what} has two columns {double[0][:_SHOWN_CHARS]!r}")
    if all(_is_number(name) for name in header):
        raise ManifestError(
            f"{what} has numbers in its first line", remedy="its first line must name the columns"
        )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True

"""What the Edge TPU compiler says of a model, read from its log.

PURE. Rules:

1. The form is that of compiler 2.1 to 16.0, as its documentation and published logs show it
   (https://coral.ai/docs/edgetpu/compiler/; google-coral/edgetpu issues 60, 324, 427, 572).
2. A line that is not there counts as not said, never as zero; without the lines that every successful log has there
   is no report.
"""

from __future__ import annotations

import re

import msgspec

_MAPPED = "Mapped to Edge TPU"
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = r"([0-9.]+)(B|KiB|MiB|GiB)"
_LINES = {
    "on_chip": re.compile(
        rf"^On-chip memory (?:available|used) for caching model parameters: {_SIZE}", re.MULTILINE
    ),
    "remaining": re.compile(
        rf"^On-chip memory remaining for caching model parameters: {_SIZE}", re.MULTILINE
    ),
    "off_chip": re.compile(
        rf"^Off-chip memory used for streaming uncached model parameters: {_SIZE}", re.MULTILINE
    ),
}
_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d+)", re.MULTILINE)
_TOTAL = re.compile(r"^Total number of operations: (\d+)", re.MULTILINE)
_ON_TPU = re.compile(r"^Number of operations that will run on Edge TPU: (\d+)", re.MULTILINE)
_OPERATOR = re.compile(r"^([A-Z0-9_]+) +(\d+) +(\S.*?) *$", re.MULTILINE)


class OperatorRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the log's table.

    Attributes:
        operator: TFLite's name.
        count: How many of them.
        status: What became of them.
    """

    operator: str
    count: int
    status: str


class CompilerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model.

    Attributes:
        version: Of the compiler.
        on_chip_bytes: Parameters cached on the chip.
        on_chip_left_bytes: Room left there.
        off_chip_bytes: Parameters sent again for every inference.
        subgraphs: Parts on the Edge TPU.
        operations_tpu: Operations there.
        operations_cpu: Operations left to the CPU.
        operators: The table, when the log has one.
    """

    version: str
    on_chip_bytes: int
    on_chip_left_bytes: int
    off_chip_bytes: int
    subgraphs: int
    operations_tpu: int
    operations_cpu: int
    operators: tuple[OperatorRow, ...] = ()

    def describe(self) -> str:
        """The report in one line."""
        left = [
            f"{row.count} x {row.operator}: {row.status}" for row in self.operators if row.status != _MAPPED
        ]
        text = (
            f"{self.operations_tpu} of {self.operations_tpu + self.operations_cpu} operations on the Edge TPU, "
            f"{self.on_chip_bytes:,} bytes of parameters on the chip, {self.off_chip_bytes:,} streamed"
        )
        return f"{text}; on the CPU {', '.join(left)}" if left else text


def parse_compiler_log(text: str) -> CompilerReport | None:
    """Read a log of ``edgetpu_compiler``.

    Args:
        text: What it printed, with or without ``-s``.

    Returns:
        None when it does not tell of a compiled model.
    """
    sizes = {name: pattern.search(text) for name, pattern in _LINES.items()}
    version, subgraphs, total = _VERSION.search(text), _SUBGRAPHS.search(text), _TOTAL.search(text)
    if not (version and subgraphs and total and all(sizes.values())):
        return None
    # The line stands there only when something is left to the CPU.
    on_tpu = _ON_TPU.search(text)
    tpu = int((on_tpu or total).group(1))
    found = {name: _bytes(match) for name, match in sizes.items() if match}
    return CompilerReport(
        version=version.group(1),
        on_chip_bytes=found["on_chip"],
        on_chip_left_bytes=found["remaining"],
        off_chip_bytes=found["off_chip"],
        subgraphs=int(subgraphs.group(1)),
        operations_tpu=tpu,
        operations_cpu=int(total.group(1)) - tpu,
        operators=tuple(
            OperatorRow(operator=name, count=int(count), status=status)
            for name, count, status in _OPERATOR.findall(text)
        ),
    )


def _bytes(match: re.Match[str]) -> int:
    return round(float(match.group(1)) * _UNITS[match.group(2)])

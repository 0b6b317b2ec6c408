"""What the page of a report shows of the document: chosen, ordered and measured for drawing.

PURE. Rules:

1. Nothing is computed here that is not in the document; what is left out for want of room is counted and said.
2. Lengths of bars are per cent of the space that they have.
3. Worst comes first: classes by their largest loss, operators by what they add.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packager.reporting.document import (
    OperatorError,
    Report,
    ReportProfile,
    ReportRung,
    ReportVariant,
)
from packager.reporting.plot import Plot, Point, draw
from packager.selective import SUFFERING

WIDE = (760.0, 360.0)
NARROW = (340.0, 320.0)
CLASSES_SHOWN = 20
CLASSES_MOST = 200
OPERATORS_SHOWN = 10
_LEAST_CHANGE = 0.02
"""The change of a class that fills a bar when none is larger: so that a hundredth does not look like a collapse."""


@dataclass(frozen=True)
class Bar:
    """A bar: where it starts and how long it is, and whether it is something bad."""

    start: float
    length: float
    is_bad: bool


@dataclass(frozen=True)
class ClassCell:
    """A variant's value for a class, its change against the float model, and that as a bar; None for no samples."""

    value: float
    change: float
    bar: Bar


@dataclass(frozen=True)
class ClassRow:
    """A class: its name, the float model's value, and a cell per variant."""

    name: str
    float_value: float
    cells: tuple[ClassCell | None, ...]


@dataclass(frozen=True)
class OperatorRow:
    """An operator: what it adds, as a bar too, and whether it was left in float."""

    error: OperatorError
    name: str
    bar: Bar
    is_float: bool


@dataclass(frozen=True)
class OperatorTable:
    """The operators of a variant that add most; how many are not shown."""

    variant: ReportVariant
    rows: tuple[OperatorRow, ...]
    more: int


@dataclass(frozen=True)
class View:
    """Everything that the page shows beside the document.

    Attributes:
        summary: The outcome in a sentence or two.
        first: The variant that devices take first on the first board; None when nothing ships.
        plots: The same plot for a wide and for a narrow page; empty when nothing was measured.
        shown: Variants in columns of the classes' table.
        classes: Its first rows.
        more_classes: Its next rows.
        classes_left_out: How many stand in the document only.
        samples_note: Classes without a sample.
        operators: One table per variant.
        is_changed: Whether any variant is other than the float model in any class.
        remarks: Profile id to variants and what is to be said of them: why they do not ship, what recovery cost.
    """

    summary: str
    first: ReportVariant | None
    plots: tuple[Plot, ...]
    shown: tuple[ReportVariant, ...]
    classes: tuple[ClassRow, ...]
    more_classes: tuple[ClassRow, ...]
    classes_left_out: int
    samples_note: int
    operators: tuple[OperatorTable, ...]
    is_changed: bool
    remarks: dict[str, list[tuple[str, str]]]


def view_report(report: Report) -> View:
    """Choose, order and measure."""
    boards = {(one.name, one.delegate): _boards(report, one) for one in report.variants}
    points = _points(report, boards)
    shown = tuple(one for one in report.variants if not _is_float_model(report, one))
    rows = _class_rows(report, shown)
    return View(
        summary=_summary(report),
        first=_first(report),
        plots=tuple(draw(points, report.gate.limit, *size) for size in (WIDE, NARROW)) if points else (),
        shown=shown,
        classes=tuple(rows[:CLASSES_SHOWN]),
        more_classes=tuple(rows[CLASSES_SHOWN:CLASSES_MOST]),
        classes_left_out=max(0, len(rows) - CLASSES_MOST),
        samples_note=sum(value is None for value in report.float_classes),
        operators=tuple(_operator_table(one) for one in report.variants if one.ranking is not None),
        is_changed=any(cell is not None and cell.change for row in rows for cell in row.cells),
        remarks={one.profile: list(_remarks(report, one)) for one in report.profiles},
    )


def _boards(report: Report, variant: ReportVariant) -> int:
    rungs = [rung for profile in report.profiles for rung in profile.rungs]
    return sum(
        (rung.variant, rung.delegate, rung.outcome) == (variant.name, variant.delegate, "shipped")
        for rung in rungs
    )


def _is_float_model(report: Report, variant: ReportVariant) -> bool:
    """Whether a variant is the model as it was given, and not a compressed one."""
    known = report.source.float_bytes, report.float_value, report.float_classes
    return variant.precision == "float32" and (variant.size_bytes, variant.value, variant.classes) == known


def _remarks(report: Report, profile: ReportProfile) -> Iterator[tuple[str, str]]:
    for rung in profile.rungs:
        if rung.reason:
            yield rung.variant, rung.reason
        found = report.variant(rung.variant, rung.delegate)
        if found is not None and found.cost_bytes is not None:
            names = ", ".join(name.partition(";")[0] for name in found.floats)
            count = _count(len(found.floats), "operator")
            yield rung.variant, f"{count} in float, which costs {found.cost_bytes:+,} bytes: {names}"


def _first(report: Report) -> ReportVariant | None:
    if report.outcome != "shipped":
        return None
    rung = _taken(report.profiles[0].rungs)
    return report.variant(rung.variant, rung.delegate) if rung else None


def _taken(rungs: Sequence[ReportRung]) -> ReportRung | None:
    return next((rung for rung in rungs if rung.outcome == "shipped"), None)


def _summary(report: Report) -> str:
    if report.outcome == "refused":
        best = max(report.variants, key=lambda one: one.value, default=None)
        text = f"No variant passes for {_count(len(report.faults), 'board')}, so no bundle was written."
        if best is None:
            return text
        return f"{text} The best {report.metric} of a variant is {best.value:.4f}; {report.gate.limit:.4f} is needed."
    smallest = min(
        (one for one in report.variants if _boards(report, one)), key=lambda one: one.size_bytes, default=None
    )
    text = f"Ships to {_count(len(report.profiles), 'board')}."
    if smallest is None:
        return text
    return (
        f"{text} The smallest variant, {smallest.name}, has {smallest.size_ratio * 100:.1f} % of the float "
        f"model's bytes and {report.metric} {smallest.value:.4f}, where {report.gate.limit:.4f} is needed."
    )


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _points(report: Report, boards: dict[tuple[str, str], int]) -> list[Point]:
    floating = Point(
        "float model",
        report.source.float_bytes,
        report.float_value,
        report.float_value,
        report.float_value,
        "float",
    )
    points = []
    for one in report.variants:
        if _is_float_model(report, one):
            continue
        low = one.value if one.drop_high is None else min(one.value, report.gate.reference - one.drop_high)
        high = one.value if one.drop_low is None else max(one.value, report.gate.reference - one.drop_low)
        kind = "shipped" if boards[one.name, one.delegate] else "refused"
        points.append(Point(one.name, one.size_bytes, one.value, low, high, kind))
    return [floating, *points]


def _class_rows(report: Report, shown: Sequence[ReportVariant]) -> list[ClassRow]:
    changes = [
        abs(value - known)
        for one in shown
        for value, known in zip(one.classes, report.float_classes, strict=True)
        if value is not None and known is not None
    ]
    scale = max([_LEAST_CHANGE, *changes])
    rows: list[tuple[float, ClassRow]] = []
    for index, (name, known) in enumerate(zip(report.class_names, report.float_classes, strict=True)):
        if known is None:
            continue
        cells = tuple(_cell(one.classes[index], known, scale) for one in shown)
        worst = min((cell.change for cell in cells if cell is not None), default=0.0)
        rows.append((worst, ClassRow(name, known, cells)))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _cell(value: float | None, known: float, scale: float) -> ClassCell | None:
    if value is None:
        return None
    change = value - known
    length = round(min(1.0, abs(change) / scale) * 50, 1)
    return ClassCell(value, change, Bar(50 - length if change < 0 else 50.0, length, change < 0))


def _operator_table(variant: ReportVariant) -> OperatorTable:
    ranking = variant.ranking
    errors = ranking.operators if ranking else ()
    most = max([SUFFERING, *(one.added for one in errors)])
    rows = tuple(
        OperatorRow(
            error=one,
            # Converters join the names of what they fused; the first says enough on a page.
            name=one.name.partition(";")[0],
            bar=Bar(0.0, round(max(0.0, one.added) / most * 100, 1), one.added >= SUFFERING),
            is_float=one.name in variant.floats,
        )
        for one in errors[:OPERATORS_SHOWN]
    )
    return OperatorTable(variant, rows, len(errors) - len(rows))

"""The plot of size against accuracy: everything is inside, in proportion, and its labels can be read."""

from __future__ import annotations

import pytest

from packager.reporting.plot import Plot, Point, draw


def a_point(label: str, size: int, value: float, spread: float = 0.0) -> Point:
    return Point(label, size, value, value - spread, value + spread, "shipped")


FLOAT, INT8 = a_point("float model", 400_000, 0.99), a_point("static-int8", 100_000, 0.98, 0.005)


def texts(plot: Plot) -> list[tuple[float, float, float]]:
    """Left, right and base line of each label."""
    found = []
    for mark in plot.marks:
        length = len(mark.point.label) * 6.5
        left = mark.label_x if mark.anchor == "start" else mark.label_x - length
        found.append((left, left + length, mark.label_y))
    return found


def test_sizes_start_at_zero_and_are_in_proportion() -> None:
    plot = draw([FLOAT, INT8], 0.97, 700, 300)
    floating, small = plot.marks
    assert (small.x - plot.left) / (floating.x - plot.left) == pytest.approx(0.25, abs=0.001)
    assert plot.sizes[0] == (plot.left, 0.0)


def test_higher_values_stand_higher_and_intervals_around_them() -> None:
    plot = draw([FLOAT, INT8], 0.97, 700, 300)
    floating, small = plot.marks
    assert plot.top <= floating.y < small.y < plot.limit_y <= plot.bottom
    assert small.high_y < small.y < small.low_y
    assert floating.high_y == floating.y == floating.low_y


@pytest.mark.parametrize("width", [340, 760])
@pytest.mark.parametrize(
    "points",
    [
        [FLOAT],
        [a_point("float model", 10, 1.0), a_point("a", 10, 0.0)],
        [a_point("float model", 1 << 30, 0.5), a_point("a-rather-long-name", 1 << 30, 0.5)],
        [a_point("nothing", 0, 0.0)],
    ],
)
def test_everything_is_inside(points: list[Point], width: int) -> None:
    plot = draw(points, points[0].value * 0.99, width, 300)
    for mark in plot.marks:
        assert plot.left <= mark.x <= plot.right
        assert plot.top - 0.1 <= mark.y <= plot.bottom + 0.1
    assert all(plot.top - 0.1 <= y <= plot.bottom + 0.1 for y, _ in plot.values)
    assert len(plot.values) >= 2


def test_labels_of_variants_of_one_size_do_not_cover_each_other() -> None:
    names = ["static-int8", "dynamic-int8", "weight-only-int8", "weight-only-int4", "static-int16"]
    points = [a_point(name, 100_000 + index, 0.98) for index, name in enumerate(names)]
    found = texts(draw([FLOAT, *points], 0.97, 760, 360))
    for index, (left, right, line) in enumerate(found):
        for other_left, other_right, other in found[index + 1 :]:
            assert abs(line - other) >= 12 or right <= other_left or other_right <= left


def test_a_label_without_room_on_the_right_stands_on_the_left() -> None:
    floating, small = draw([FLOAT, INT8], 0.97, 700, 300).marks
    assert (floating.anchor, small.anchor) == ("end", "start")


def test_more_labels_than_lines_are_all_drawn() -> None:
    points = [a_point(f"the-same-long-name-{n}", 100_000, 0.98) for n in range(60)]
    assert len(draw(points, 0.97, 340, 120).marks) == 60


def test_the_limit_is_named_below_its_line_where_there_is_no_room_above() -> None:
    points = [FLOAT, a_point("static-int8", 1, 0.1)]
    high, low = draw(points, 0.99, 700, 300), draw([FLOAT, INT8], 0.97, 700, 300)
    assert high.limit_text_y > high.limit_y
    assert low.limit_text_y < low.limit_y


def test_ticks_have_the_digits_that_tell_them_apart() -> None:
    fine, coarse = draw([FLOAT], 0.9899, 700, 300), draw([FLOAT, a_point("a", 1, 0.0)], 0.9, 700, 300)
    assert len({f"{value:.{fine.digits}f}" for _, value in fine.values}) == len(fine.values)
    assert coarse.digits == 1

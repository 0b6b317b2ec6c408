from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.pipelines.crops import Rectangle, Rules, crop, rectangle_of, select_boxes

NAN = float("nan")


def found(*rows: tuple[float, float, float, float, float]) -> dict[str, npt.NDArray[np.float32]]:
    """A detector's answer with room for two more boxes: top, left, bottom, right, score."""
    boxes, scores = np.zeros((1, len(rows) + 2, 4), np.float32), np.zeros((1, len(rows) + 2), np.float32)
    for index, row in enumerate(rows):
        boxes[0, index], scores[0, index] = row[:4], row[4]
    return {"boxes": boxes, "scores": scores, "count": np.array([len(rows)], np.float32)}


@pytest.mark.parametrize(
    ("box", "padding", "place"),
    [
        ((0.1, 0.2, 0.5, 0.8), 0.0, (10, 40, 50, 160)),
        ((0.101, 0.2, 0.499, 0.8), 0.0, (10, 40, 50, 160)),
        ((0.2, 0.2, 0.4, 0.6), 0.5, (10, 0, 50, 160)),
        ((-0.5, -1.0, 0.5, 2.0), 0.0, (0, 0, 50, 200)),
        ((0.0, 0.0, 1.0, 1.0), 1.0, (0, 0, 100, 200)),
        ((0.5, 0.5, 0.501, 0.501), 0.0, (50, 100, 51, 101)),
        ((1.0, 0.0, 1.5, 1.0), 0.0, None),
        ((0.0, -0.5, 1.0, 0.0), 0.0, None),
        ((0.5, 0.1, 0.5, 0.2), 1.0, None),
        ((0.1, 0.5, 0.2, 0.4), 1.0, None),
        ((NAN, 0.0, 1.0, 1.0), 0.0, None),
        ((0.0, 0.0, float("inf"), 1.0), 0.0, None),
    ],
)
def test_a_box_is_padded_widened_to_pixels_and_clipped(
    box: tuple[float, ...], padding: float, place: tuple[int, int, int, int] | None
) -> None:
    assert rectangle_of(list(box), (100, 200), padding) == (None if place is None else Rectangle(*place))


def test_fractions_in_float32_that_mean_whole_pixels_are_whole_pixels() -> None:
    for pixels in range(1, 8192):
        box = [float(np.float32(pixels / 8192)), 0.0, 1.0, 1.0]
        assert rectangle_of(box, (8192, 8192), 0.0) == Rectangle(pixels, 0, 8192, 8192)
    third = [float(np.float32(1 / 3)), 0.0, float(np.float32(2 / 3)), 1.0]
    assert rectangle_of(third, (30, 30), 0.0) == Rectangle(10, 0, 20, 30)


def test_the_best_boxes_are_taken_and_empty_ones_counted_without_taking_a_place() -> None:
    outputs = found(
        (0.0, 0.0, 0.5, 0.5, 0.6),
        (2.0, 2.0, 3.0, 3.0, 0.9),
        (0.5, 0.5, 1.0, 1.0, 0.8),
        (0.0, 0.5, 0.5, 1.0, 0.6),
        (0.0, 0.0, 1.0, 1.0, 0.4),
        (0.0, 0.0, 0.0, 0.0, 0.3),
    )
    chosen = select_boxes(outputs, (10, 10), Rules(min_score=0.4, top=2, padding=0.0))
    assert (chosen.rows, chosen.skipped) == ([2, 0], 1)
    assert chosen.rectangles == [Rectangle(5, 5, 10, 10), Rectangle(0, 0, 5, 5)]
    everything = select_boxes(outputs, (10, 10), Rules(min_score=0.0, top=9, padding=0.0))
    assert (everything.rows, everything.skipped) == ([2, 0, 3, 4], 2)


def test_a_score_that_is_no_number_is_none() -> None:
    assert select_boxes(found((0.0, 0.0, 1.0, 1.0, NAN)), (10, 10), Rules(0.0, 2, 0.0)).rows == []


def test_a_crop_has_the_images_own_pixels() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(crop(image, Rectangle(1, 2, 3, 5)), image[1:3, 2:5])

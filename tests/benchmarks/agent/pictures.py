"""Pre-processing of a JPEG of 1920 x 1080 to 224 x 224, against Pillow's own draft-decode and resize.

Both sides start from the bytes of the file and alternate in blocks. Pillow's ends with its image of 224 x 224; ours
with the pixels as an array, and, in the second row, with the float32 tensor that a model takes. The picture is drawn:
noise of all scales, as photos have it, so that the file is as long as a camera's.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from contract.processing import Color, ImagePreprocessing
from contract.vision import prepare_image
from edge_agent.inference.image_files import fit_file
from tests.benchmarks.harness import Row, at_most, median_ratio, time_alternating, versions_of

BLOCKS = 30
BLOCK_RUNS = 5
WIDTH, HEIGHT, SIDE = 1920, 1080, 224
_RECIPE = ImagePreprocessing(width=SIDE, height=SIDE, color=Color.RGB, mean=(127.5,) * 3, std=(127.5,) * 3)


def rows() -> list[Row]:
    """Measure everything."""
    content = a_jpeg()
    versions = versions_of("pillow", "numpy")

    def pillow() -> object:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (SIDE, SIDE))
            return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)

    sides: dict[str, Callable[[], object]] = {
        "pixels": lambda: fit_file(content, _RECIPE).pixels,
        "tensor": lambda: prepare_image(fit_file(content, _RECIPE).pixels, _RECIPE),
    }
    found: list[Row] = []
    for name, ours in sides.items():
        ours()
        our_s, pillow_s = time_alternating(_block(ours), _block(pillow), blocks=BLOCKS)
        found.append(
            Row(
                name=f"JPEG {WIDTH}x{HEIGHT} to {name} of {SIDE}x{SIDE}, over Pillow's own draft and resize",
                value=median_ratio(our_s, pillow_s),
                unit="ratio",
                samples=BLOCKS * BLOCK_RUNS,
                goal=at_most(1.1),
                baseline=1.0,
                versions=versions,
            )
        )
    found.append(
        Row(
            name=f"JPEG {WIDTH}x{HEIGHT} ({len(content) >> 10} KiB) with Pillow's own draft and resize",
            value=1000 * statistics.median(pillow_s) / BLOCK_RUNS,
            unit="ms",
            samples=BLOCKS * BLOCK_RUNS,
            versions=versions,
        )
    )
    return found


def _block(run: Callable[[], object]) -> Callable[[], None]:
    def block() -> None:
        for _ in range(BLOCK_RUNS):
            run()

    return block


def a_jpeg() -> bytes:
    """The picture as a file of quality 90."""
    random = np.random.default_rng(5)
    pixels: npt.NDArray[np.float64] = np.full((HEIGHT, WIDTH, 3), 128.0)
    for step in (2, 8, 32, 120):
        coarse = random.normal(0, 9 * step**0.4, (HEIGHT // step + 1, WIDTH // step + 1, 3))
        pixels += coarse.repeat(step, 0).repeat(step, 1)[:HEIGHT, :WIDTH]
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()

"""One application on one board: asks the model on its own device, without a break, until it is told to stop.

Run as ``client.py RUN_DIR IMAGES RESULT --rate HZ``: loops over ``IMAGES/<label>/*.png``, sends each image through
the litefleet SDK, and counts. It waits for the first deployment of the model; from then on every request that is
not answered within the SDK's deadline counts as failed. ``RESULT`` is rewritten once a second and at the end
(SIGTERM), so a reader sees which version answers right now.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from contract.errors import LitefleetError
from contract.histogram import LatencyRecorder
from edge_agent import connect

if TYPE_CHECKING:
    from types import FrameType

WAIT_FOR_MODEL_S = 120.0
WRITE_EVERY_S = 0.25


class Tally:
    """What was asked and answered so far; one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests = 0
        self.failed = 0
        self.errors: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.latest = ""
        self.latency = LatencyRecorder()
        self._written = 0.0

    def write(self, *, now: float, force: bool = False) -> None:
        """Rewrite the result file when it is due; readers see a whole file, old or new."""
        if not force and now - self._written < WRITE_EVERY_S:
            return
        self._written = now
        latency = self.latency.snapshot()
        result = {
            "requests": self.requests,
            "failed": self.failed,
            "errors": dict(self.errors.most_common(5)),
            "answered": dict(self.answered),
            "accuracy": {version: self.right[version] / count for version, count in self.answered.items()},
            "latest": self.latest,
            "latency_ms_p50": latency.quantile_s(0.5) * 1e3,
            "latency_ms_p99": latency.quantile_s(0.99) * 1e3,
        }
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(self.path)


def load_images(folder: Path) -> list[tuple[str, np.ndarray]]:
    """All images as (label, (H, W) uint8 gray 0-255), in the order of their names."""
    found = []
    for path in sorted(folder.glob("*/*.png")):
        with Image.open(path) as image:
            found.append((path.parent.name, np.asarray(image.convert("L"))))
    return found


def main() -> None:
    """Ask until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    arguments = parser.parse_args()
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    images = load_images(arguments.images)
    tally = Tally(arguments.result)
    with connect(arguments.run_dir) as agent, agent.model(arguments.model, wait_s=WAIT_FOR_MODEL_S) as model:
        due = time.monotonic()
        while not stopping:
            label, image = images[tally.requests % len(images)]
            begun = time.perf_counter()
            tally.requests += 1
            try:
                answer = model.infer(image)
            except LitefleetError as error:
                tally.failed += 1
                tally.errors[error.summary()[:200]] += 1
            else:
                tally.latency.record(time.perf_counter() - begun)
                tally.latest = answer.version
                tally.answered[answer.version] += 1
                tally.right[answer.version] += answer.label == label
            now = time.monotonic()
            tally.write(now=now)
            due = max(due + 1 / arguments.rate, now - 1.0)  # after a stall, catch up by one second at most
            time.sleep(max(0.0, due - now))
    tally.write(now=time.monotonic(), force=True)


if __name__ == "__main__":
    main()

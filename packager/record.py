"""The stored form of an evaluation, for the cache of stages.

Guarantees: what is read back is what was stored, bit for bit; metrics are computed from the scores again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from packager.evaluate import Evaluation, conclude
from packager.tasks.task import Task


@dataclass(frozen=True)
class Run:
    """An evaluation, and how fast it was: median of single invocations in ms."""

    evaluation: Evaluation
    latency_ms_p50: float


def encode_run(run: Run) -> bytes:
    """As an uncompressed .npz."""
    found = run.evaluation
    sink = io.BytesIO()
    numbers = np.array([found.useless, run.latency_ms_p50, *found.spread], dtype=np.float64)
    np.savez(sink, allow_pickle=False, scores=found.scores, margin=found.margin, numbers=numbers)
    return sink.getvalue()


def decode_run(content: bytes, task: Task) -> Run:
    """Read back what was stored of the same task."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        useless, latency, *spread = (float(number) for number in arrays["numbers"])
        evaluation = conclude(task, arrays["scores"], arrays["margin"], tuple(spread), int(useless))
    return Run(evaluation, latency)

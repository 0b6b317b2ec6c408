"""The stored form of a variant's answers, for the cache of stages.

Guarantees: what is read back is what was stored, bit for bit; metrics are not, they are computed again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from packager.evaluate import Answers


@dataclass(frozen=True)
class Run:
    """What was answered, and how fast: median of single invocations in ms."""

    answers: Answers
    latency_ms_p50: float


def encode_run(run: Run) -> bytes:
    """As an uncompressed .npz."""
    found = run.answers
    sink = io.BytesIO()
    numbers = np.array([found.useless, run.latency_ms_p50, *found.spread], dtype=np.float64)
    np.savez(sink, allow_pickle=False, scores=found.scores, margin=found.margin, numbers=numbers)
    return sink.getvalue()


def decode_run(content: bytes) -> Run:
    """Read back what was stored."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        useless, latency, *spread = (float(number) for number in arrays["numbers"])
        answers = Answers(arrays["scores"], arrays["margin"], tuple(spread), int(useless))
    return Run(answers, latency)

"""Write what scikit-learn says of small samples into ``metric_references.json``, which tests hold our formulas to.

Needs scikit-learn, which litefleet itself does not (docs/adr/0034).

Example:
    python -m tests.data.make_metric_references
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, r2_score
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.neighbors import NearestNeighbors

SEED = 20261121
SAMPLES = 24
DRAWS = 6


def regressions(draw: np.random.Generator) -> list[dict[str, Any]]:
    """R2 of one and of several values, good and bad ones, a constant target, and values far from 0."""
    near = draw.normal(5, 2, (SAMPLES, 1))
    cases = {
        "one value": (near, near + draw.normal(0, 0.5, near.shape)),
        "three values": (draw.normal(0, 1, (SAMPLES, 3)), draw.normal(0, 1, (SAMPLES, 3))),
        "better than the mean": (near.repeat(2, axis=1), near + draw.normal(0, 1, (SAMPLES, 2))),
        "constant target": (np.full((SAMPLES, 1), 3.0), np.full((SAMPLES, 1), 3.5)),
        "constant target, exact": (np.full((SAMPLES, 1), 0.1), np.full((SAMPLES, 1), 0.1)),
        "far from 0": (near + 1e6, near + 1e6 + draw.normal(0, 0.5, near.shape)),
    }
    counts = draw.multinomial(SAMPLES, [1 / SAMPLES] * SAMPLES, size=DRAWS)
    return [
        {
            "name": name,
            "targets": targets.tolist(),
            "answers": answers.tolist(),
            "counts": counts.tolist(),
            "plain": r2_score(targets, answers),
            "drawn": [r2_score(targets, answers, sample_weight=row) for row in counts],
        }
        for name, (targets, answers) in cases.items()
    ]


def classifications(draw: np.random.Generator) -> dict[str, Any]:
    """Accuracy, plain and drawn."""
    truth, scores = draw.integers(0, 4, SAMPLES), draw.normal(0, 1, (SAMPLES, 4))
    scores[np.arange(SAMPLES), truth] += 1.0
    counts = draw.multinomial(SAMPLES, [1 / SAMPLES] * SAMPLES, size=DRAWS)
    answers = scores.argmax(axis=1)
    return {
        "truth": truth.tolist(),
        "scores": scores.tolist(),
        "counts": counts.tolist(),
        "plain": accuracy_score(truth, answers),
        "drawn": [accuracy_score(truth, answers, sample_weight=row) for row in counts],
    }


def embeddings(draw: np.random.Generator) -> dict[str, Any]:
    """Whose nearest neighbours, itself left out, show the same identity; and cosines of pairs."""
    truth = draw.integers(0, 5, SAMPLES)
    values = draw.normal(0, 1, (SAMPLES, 6)) + 1.2 * draw.normal(0, 1, (5, 6))[truth]
    other = values + draw.normal(0, 0.7, values.shape)
    found = {}
    for k in (1, 3):
        neighbours = (
            NearestNeighbors(n_neighbors=k, metric="cosine").fit(values).kneighbors(return_distance=False)
        )
        found[str(k)] = (truth[neighbours] == truth[:, np.newaxis]).any(axis=1).astype(float).tolist()
    return {
        "truth": truth.tolist(),
        "values": values.tolist(),
        "other": other.tolist(),
        "found": found,
        "cosines": (1 - paired_cosine_distances(values, other)).tolist(),
    }


def main() -> None:
    """Write the file."""
    draw = np.random.default_rng(SEED)
    references = {
        "scikit-learn": sklearn.__version__,
        "regressions": regressions(draw),
        "classification": classifications(draw),
        "embedding": embeddings(draw),
    }
    path = Path(__file__).parent / "metric_references.json"
    path.write_text(json.dumps(references, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How many requests the gateway has answered, per model, in the form of Triton's statistics extension.

PURE. Rules:

1. Counts begin with the gateway and only grow.
2. What a worker did is counted by the worker, and reaches the server from there: these counts add what a worker
   never sees, above all what was refused.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ModelTally:
    """Of one model.

    Attributes:
        successes: Requests that got an answer.
        success_ns: Time they took together, nanoseconds.
        failures: Requests that got an error once they had arrived.
        failure_ns: Time they took together, nanoseconds.
        refused: Those of the failures that found too many others waiting.
        last_ms: When the last one was answered, milliseconds since the epoch.
    """

    successes: int = 0
    success_ns: int = 0
    failures: int = 0
    failure_ns: int = 0
    refused: int = 0
    last_ms: int = 0

    def count_answer(self, taken_s: float, at_s: float) -> None:
        """Count a request that got an answer."""
        self.successes += 1
        self.success_ns += int(taken_s * 1e9)
        self.last_ms = int(at_s * 1e3)

    def count_failure(self, taken_s: float, *, is_overload: bool) -> None:
        """Count a request that got an error."""
        self.failures += 1
        self.failure_ns += int(taken_s * 1e9)
        self.refused += is_overload

    def __add__(self, other: ModelTally) -> ModelTally:
        """Both together."""
        return ModelTally(
            successes=self.successes + other.successes,
            success_ns=self.success_ns + other.success_ns,
            failures=self.failures + other.failures,
            failure_ns=self.failure_ns + other.failure_ns,
            refused=self.refused + other.refused,
            last_ms=max(self.last_ms, other.last_ms),
        )

    def as_statistics(self, model: str, version: str) -> dict[str, object]:
        """One entry of ``model_stats``; ``refused`` is litefleet's own."""
        return {
            "name": model,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.successes,
            "execution_count": self.successes,
            "inference_stats": {
                "success": {"count": self.successes, "ns": self.success_ns},
                "fail": {"count": self.failures, "ns": self.failure_ns},
            },
            "refused": self.refused,
        }

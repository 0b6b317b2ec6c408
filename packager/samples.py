"""Whether evaluation and calibration samples can carry a decision.

PURE. Rules:

1. Too few evaluation samples are refused: a gate on them would pass or fail by chance.
2. An evaluation sample that is also a calibration sample is told: static quantization learnt its ranges from it, so
   the measured drop may be too small. It does not stop, because ranges learn little from a single sample.
3. A class without evaluation samples is told: nothing is known of it.
"""

from __future__ import annotations

from contract.errors import ManifestError
from packager.rules import Rules
from packager.tasks.task import Inputs, ManyClasses, Task

_CLASSES_SHOWN = 5


def check_samples(task: Task, rules: Rules) -> None:
    """Rule 1.

    Raises:
        ManifestError: There are too few.
    """
    if len(task) < rules.min_samples:
        raise ManifestError(
            f"there are {len(task)} evaluation samples, at least {rules.min_samples} are needed",
            remedy="add samples; or set --min-samples lower, if a decision on so few is good enough for you",
        )


def sample_warnings(task: Task, calibration: Inputs | None) -> tuple[str, ...]:
    """Rules 2 and 3, as texts."""
    warnings: list[str] = []
    if calibration is not None:
        known = set(calibration.digests)
        shared = sum(digest in known for digest in task.digests)
        if shared:
            warnings.append(
                f"{shared} of {len(task)} evaluation samples are calibration samples too, so the measured drop may be "
                "too small: keep the two apart"
            )
    empty = _absent(task)
    if empty:
        shown = ", ".join(empty[:_CLASSES_SHOWN])
        more = f" and {len(empty) - _CLASSES_SHOWN} more" if len(empty) > _CLASSES_SHOWN else ""
        warnings.append(f"no evaluation sample is of class {shown}{more}: nothing is measured there")
    return tuple(warnings)


def _absent(task: Task) -> list[str]:
    if isinstance(task, ManyClasses):
        return list(task.absent)
    present = set(task.strata.tolist())
    return [name for number, name in enumerate(task.classes) if number not in present]

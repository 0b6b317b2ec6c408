"""How many threads an interpreter gets: the one place where that is decided.

PURE. Rules:

1. An interpreter never has more threads than the profile's budget, nor than the processors that this process may use.
   A number that the configuration fixes stands as it is.
2. A cap, where there is one, comes last and holds for every number; while it holds nothing is measured.
3. Without a measure it is as many as rules 1 and 2 allow. Measured are 1, 2 and that number.
4. Of the numbers measured the smallest wins whose time is within ``NEARLY`` of the shortest: a thread more takes power
   and a core from the application, so it has to bring something.
5. The number of the version before stays while its time is within ``STILL_GOOD`` of the shortest: two versions of one
   model should not differ by noise.
6. Where time ran out before every number was measured, rule 3 holds: such a model is slow, and wants what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

THREADS_MAX = 64
NEARLY = 1.10
STILL_GOOD = 1.20


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section ``[workers]``.

    Attributes:
        threads: Of each interpreter: ``auto`` to measure which number serves a model best on this board, or a number.
        weight_cache: Whether a large model's packed weights are kept on disk and mapped (``weight_cache``).
        fork_server: Whether workers are forked by a process that has imported what they need (``fork_server``).
    """

    threads: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=THREADS_MAX)] = "auto"
    weight_cache: bool = True
    fork_server: bool = True


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to measure before it is ready.

    Attributes:
        choices: Numbers of threads, from the smallest.
        seconds: Longest time for all of them together; a run or a load that has begun is not broken off.
        before: The number of the version before; 0 when there was none.
    """

    choices: tuple[int, ...]
    seconds: float
    before: int = 0


class Allotment(msgspec.Struct, frozen=True):
    """What one worker gets.

    Attributes:
        threads: Of its interpreter, unless it measures another number to be better.
        choices: What it is to measure first; empty for nothing.
    """

    threads: int
    choices: tuple[int, ...] = ()


def allot_threads(
    settings: WorkerSettings, *, budget: int, processors: int, known: int = 0, cap: int = 0
) -> Allotment:
    """What a worker gets.

    Args:
        settings: Of the configuration.
        budget: Of the board's profile.
        processors: That this process may use.
        known: What was measured for this model on this board before; 0 when it was not.
        cap: Most threads while the board is hot; 0 for none.
    """
    most = max(1, min(budget, processors))
    threads = settings.threads if settings.threads != "auto" else min(known or most, most)
    if cap:
        return Allotment(min(threads, cap))
    is_measured = settings.threads == "auto" and not known and most > 1
    return Allotment(threads, tuple(sorted({1, 2, most})) if is_measured else ())


def choose_threads(seconds: Mapping[int, float], tuning: Tuning) -> int:
    """The number that serves best.

    Args:
        seconds: Number of threads to the time of one run; only numbers that were measured.
        tuning: What was to be measured.
    """
    if not all(seconds.get(choice, 0.0) > 0 for choice in tuning.choices):
        return tuning.choices[-1]
    shortest = min(seconds[choice] for choice in tuning.choices)
    if tuning.before in tuning.choices and seconds[tuning.before] <= shortest * STILL_GOOD:
        return tuning.before
    return next(choice for choice in tuning.choices if seconds[choice] <= shortest * NEARLY)

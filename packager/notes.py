"""What a pack run says of costs and delegates, rung by rung.

PURE. Rules:

1. Every rung of every profile has a note with its cost on that board; its coverage is there when it was made.
2. A profile with an Edge TPU has a note on it, also when nothing was compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from contract.profile import Precision
from packager.cost import cost_of
from packager.coverage.coverage import Coverage
from packager.edgetpu_log import CompilerReport
from packager.plan import Plan

_REASONS_SHOWN = 3


class RungNote(msgspec.Struct, frozen=True, kw_only=True):
    """What one rung costs on one board.

    Attributes:
        profile: Profile id.
        precision: Numeric form.
        delegate: What runs it.
        speed: ``fastest``, ``fast``, ``as float`` or ``slow``, compared with the other rungs.
        cost: Why.
        coverage: What XNNPACK takes of it; None when the rung was not made or runs on plain kernels.
    """

    profile: str
    precision: str
    delegate: str
    speed: str
    cost: str
    coverage: Coverage | None = None


class EdgetpuNote(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the Edge TPU variant of one profile.

    Attributes:
        profile: Profile id.
        text: For people.
        is_shipped: Whether the bundle holds it.
        predicted: What was expected of the compiler; None when there was nothing to compile.
        report: What the compiler said; None when it did not run or refused.
    """

    profile: str
    text: str
    is_shipped: bool
    predicted: Coverage | None = None
    report: CompilerReport | None = None


def rung_notes(plan: Plan, coverage: Mapping[Precision, Coverage]) -> tuple[RungNote, ...]:
    """State costs and coverage, in the order of the profiles and their ladders.

    Args:
        plan: The run.
        coverage: Of the precisions that were made, on XNNPACK.
    """
    notes = []
    for one in plan.profiles:
        for rung in one.rungs:
            cost = cost_of(one.profile, rung.precision)
            on_xnnpack = coverage.get(rung.precision) if cost.is_on_xnnpack else None
            notes.append(
                RungNote(
                    profile=one.profile.id,
                    precision=rung.precision.value,
                    delegate=cost.delegate.value,
                    speed=cost.speed.value,
                    cost=cost.note,
                    coverage=on_xnnpack,
                )
            )
    return tuple(notes)


def note_lines(notes: Sequence[RungNote]) -> Iterator[str]:
    """The notes for people, those of equal boards together."""
    seen: dict[str, list[str]] = {}
    for note in notes:
        seen.setdefault(_note_line(note), []).append(note.profile)
    for line, profiles in seen.items():
        yield f"{line} [{', '.join(dict.fromkeys(profiles))}]"


def _note_line(note: RungNote) -> str:
    text = f"{note.precision}: {note.speed}; {note.cost}"
    if note.coverage is None:
        return text
    text += f"; XNNPACK takes {note.coverage.describe()} operators"
    reasons = note.coverage.reasons()
    more = f" and {len(reasons) - _REASONS_SHOWN} kinds more" if len(reasons) > _REASONS_SHOWN else ""
    return f"{text}, not {'; '.join(reasons[:_REASONS_SHOWN])}{more}" if reasons else text

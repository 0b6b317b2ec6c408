"""What a pack run says of costs and delegates, rung by rung.

PURE. Rules:

1. Every rung of every profile has a note with its cost on that board; its coverage is there when it was made.
2. A profile with an Edge TPU has a note on it, also when nothing was compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from contract.profile import Profile
from packager.cost import cost_of
from packager.coverage.coverage import Coverage
from packager.edgetpu_log import CompilerReport
from packager.plan import Rung

_REASONS_SHOWN = 3


class RungNote(msgspec.Struct, frozen=True, kw_only=True):
    """What one rung costs on one board.

    Attributes:
        profile: Profile id.
        variant: Name in the bundle.
        delegate: What runs it.
        speed: ``fastest``, ``fast``, ``as float`` or ``slow``, compared with the other rungs.
        cost: Why.
        coverage: What XNNPACK takes of it; None when the rung was not made or runs on plain kernels.
    """

    profile: str
    variant: str
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


def rung_notes(
    rungs: Iterable[tuple[Profile, Rung]], coverage: Mapping[str, Coverage]
) -> tuple[RungNote, ...]:
    """State costs and coverage.

    Args:
        rungs: Boards and the rungs of their ladders.
        coverage: Of the variants that were made, by name, on XNNPACK.
    """
    notes = []
    for profile, rung in rungs:
        cost = cost_of(profile, rung.precision)
        notes.append(
            RungNote(
                profile=profile.id,
                variant=rung.name,
                delegate=cost.delegate.value,
                speed=cost.speed.value,
                cost=cost.note,
                coverage=coverage.get(rung.name) if cost.is_on_xnnpack else None,
            )
        )
    return tuple(notes)


def note_line(note: RungNote) -> str:
    """A note for people."""
    text = f"{note.variant}: {note.speed}; {note.cost}"
    if note.coverage is None:
        return text
    found = note.coverage
    parts = f" in {found.partitions} parts" if found.partitions > 1 else ""
    text += f"; it takes {found.nodes_delegated}/{found.nodes_total} operators{parts}"
    reasons = note.coverage.reasons()
    more = f" and {len(reasons) - _REASONS_SHOWN} kinds more" if len(reasons) > _REASONS_SHOWN else ""
    return f"{text}, not {'; '.join(reasons[:_REASONS_SHOWN])}{more}" if reasons else text

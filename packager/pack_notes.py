"""Collects what a pack run has to say of costs and of XNNPACK's coverage, from the variants that it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from contract.profile import Profile
from packager.coverage.coverage import Coverage
from packager.coverage.xnnpack import predict_xnnpack
from packager.gate import Verdict
from packager.notes import RungNote, rung_notes
from packager.plan import Rung
from packager.runtime.graph import read_graph


class Maker(Protocol):
    """Where variants are made once; ``packager.workshop.Workshop`` is one."""

    def make(self, rung: Rung) -> bytes | str:
        """The model file of a rung, or why it cannot be made."""
        ...


def pack_notes(
    profiles: Sequence[Profile], verdicts: Mapping[str, Sequence[Verdict]], maker: Maker
) -> tuple[RungNote, ...]:
    """State the cost and coverage of every rung that was judged.

    Args:
        profiles: The boards.
        verdicts: Profile id to the verdicts over its ladder.
        maker: What made the variants.
    """
    rungs = [(profile, verdict.rung) for profile in profiles for verdict in verdicts[profile.id]]
    coverage: dict[str, Coverage] = {}
    for _, rung in rungs:
        if rung.name not in coverage and not rung.unavailable:
            content = maker.make(rung)
            if isinstance(content, bytes):
                coverage[rung.name] = predict_xnnpack(read_graph(content))
    return rung_notes(rungs, coverage)

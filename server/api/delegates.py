"""Which delegate runs a model, as the API shows it."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel

from contract.delegation import DelegateReport


class DelegateView(BaseModel):
    """Delegate asked for and the one that runs."""

    requested: str
    actual: str
    nodes_total: int
    nodes_delegated: int
    partitions: int
    reason: str


def delegate_view(report: DelegateReport | None) -> DelegateView | None:
    """A report as the API shows it."""
    return None if report is None else DelegateView(**msgspec.structs.asdict(report))

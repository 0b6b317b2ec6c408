"""Benches: what each board really does, as ``litefleet-agent bench`` measured it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from contract.bench import summarise
from contract.errors import NotFoundError
from server.api.auth import require_reader
from server.api.delegates import DelegateView, delegate_view
from server.storage.benches import BenchRecord
from server.storage.repository import Storage

router = APIRouter(prefix="/api/v1/benches")

MOST = 1000


class BenchView(BaseModel):
    """One bench of one model on one board. It counts when ``is_valid``; else ``faults`` and ``reason`` say why not."""

    id: str
    device: str
    at: datetime
    received_at: datetime
    model: str
    version: str
    variant: str
    digest: str
    profile: str
    board: str
    runtime: str
    runtime_version: str
    threads: int
    cores: int
    delegate: DelegateView | None
    is_valid: bool
    faults: list[str]
    reason: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    spread_ratio: float
    pss_bytes: int
    start_s: float
    runs: int
    warm_up_runs: int
    is_throttling_known: bool
    requests_meanwhile: int | None


class BenchHeatView(BaseModel):
    """What the board said of its heat at one moment; null where it does not tell."""

    is_throttled: bool | None
    celsius: float | None
    cause: str


class BenchProcessView(BaseModel):
    """One process of a bench, with every timed run in order."""

    latencies_ms: list[float]
    pss_bytes: int
    start_s: float
    delegate: DelegateView | None


class BenchDetails(BenchView):
    """A bench with everything that was seen; ``heat``: before the first process, and after each."""

    processes: list[BenchProcessView]
    heat: list[BenchHeatView]


@router.get("", dependencies=[Depends(require_reader)])
def get_benches(
    request: Request,
    model: str | None = None,
    device: str | None = None,
    version: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> list[BenchView]:
    """The newest benches, or those of a model, device or version, newest first."""
    with _storage(request).read() as rows:
        found = rows.benches.newest(limit=limit, model=model, device=device, version=version)
    return [bench_view(record) for record in found]


@router.get("/{device}/{bench}", dependencies=[Depends(require_reader)])
def get_bench(request: Request, device: str, bench: str) -> BenchDetails:
    """One bench with every run."""
    with _storage(request).read() as rows:
        record = rows.benches.find(device, bench)
    if record is None:
        raise NotFoundError(
            f"device {device[:80]!r} sent no bench {bench[:80]!r}, or it was replaced by newer ones",
            remedy="see: litefleet benches",
        )
    processes = [
        BenchProcessView(
            latencies_ms=list(process.latencies_ms),
            pss_bytes=process.pss_bytes,
            start_s=process.start_s,
            delegate=delegate_view(process.delegate),
        )
        for process in record.result.processes
    ]
    heat = [BenchHeatView(**msgspec.structs.asdict(moment)) for moment in record.result.heat]
    return BenchDetails(**_fields(record), processes=processes, heat=heat)


def bench_view(record: BenchRecord) -> BenchView:
    """A bench without its runs."""
    return BenchView(**_fields(record))


def _fields(record: BenchRecord) -> dict[str, Any]:
    result, summary = record.result, summarise(record.result)
    seen = {
        name: getattr(result, name) for name in result.__struct_fields__ if name not in {"processes", "heat"}
    }
    follows = msgspec.structs.asdict(summary) | {
        "faults": [fault.value for fault in summary.faults],
        "delegate": delegate_view(summary.delegate),
    }
    times = {"id": record.id, "device": record.device, "at": record.at, "received_at": record.received_at}
    return times | seen | follows


def _storage(request: Request) -> Storage:
    return cast("Storage", request.app.state.storage)

"""Telemetry: what each variant did on each device, over all its windows."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from server.api.auth import require_reader
from server.api.delegates import DelegateView, delegate_view
from server.storage.observations import TelemetryTotal
from server.storage.repository import Storage

router = APIRouter(prefix="/api/v1/telemetry")

_MS = 1000.0


class TelemetryView(BaseModel):
    """One variant on one device. Latencies are of requests without error; quantiles are estimates (+-13 %)."""

    device: str
    model: str
    version: str
    variant: str
    windows: int
    requests: int
    errors: int
    latency_ms_mean: float
    latency_ms_p50: float
    latency_ms_p95: float
    latency_ms_p99: float
    rss_bytes: int
    first: datetime
    last: datetime
    delegate: DelegateView | None
    throttled_windows: int
    throttled_requests: int


@router.get("", dependencies=[Depends(require_reader)])
def get_telemetry(
    request: Request, model: str | None = None, device: str | None = None, version: str | None = None
) -> list[TelemetryView]:
    """The totals of all variants, or those of a model, device or version."""
    with cast("Storage", request.app.state.storage).read() as rows:
        totals = rows.telemetry.totals(model=model, device=device, version=version)
    return [_view(total) for total in totals]


def _view(total: TelemetryTotal) -> TelemetryView:
    latency = total.latency
    return TelemetryView(
        device=total.device,
        model=total.model,
        version=total.version,
        variant=total.variant,
        windows=total.windows,
        requests=total.requests,
        errors=total.errors,
        latency_ms_mean=latency.mean_s() * _MS,
        latency_ms_p50=latency.quantile_s(0.50) * _MS,
        latency_ms_p95=latency.quantile_s(0.95) * _MS,
        latency_ms_p99=latency.quantile_s(0.99) * _MS,
        rss_bytes=total.rss_bytes,
        first=total.first,
        last=total.last,
        delegate=delegate_view(total.delegate),
        throttled_windows=total.throttled_windows,
        throttled_requests=total.throttled_requests,
    )

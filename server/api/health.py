"""Whether the server lives; the only route that needs no token and tells nothing of the fleet."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

router = APIRouter()


class Health(BaseModel):
    """``degraded``: HTTP works, the broker is being started again."""

    status: Literal["ok", "degraded"]
    version: str
    broker: str


@router.get("/healthz")
def get_health(request: Request) -> Health:
    """Whether the server lives, its version, and which broker it runs."""
    state = request.app.state
    status: Literal["ok", "degraded"] = "ok" if state.is_broker_connected() else "degraded"
    return Health(status=status, version=state.version, broker=state.broker_name)

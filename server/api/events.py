"""Events: what operators may want to know at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from server.api.auth import require_reader
from server.storage.repository import Storage

router = APIRouter(prefix="/api/v1/events")

MAX_EVENTS = 1000


class EventView(BaseModel):
    """An event of a device; ``id`` grows with every event."""

    id: int
    device: str
    kind: str
    at: datetime
    model: str
    version: str
    reason: str | None
    detail: str


@router.get("", dependencies=[Depends(require_reader)])
def get_events(request: Request, after: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0) -> list[EventView]:
    """The events after an id, oldest first, at most a thousand."""
    with cast("Storage", request.app.state.storage).read() as rows:
        events = rows.events.after(after, limit=MAX_EVENTS)
    return [EventView.model_validate(event, from_attributes=True) for event in events]

"""What each message changes in the database.

Guarantees: taking a message in twice changes nothing more than once. Does not commit and does not answer: it tells
in ``Effects`` what is to be done once the transaction is committed.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from contract.bench import Bench, BenchAck
from contract.deployment import ENDS, Reason, State
from contract.messages import (
    WIRE_VERSION,
    Ack,
    DeploymentChange,
    DeviceInfo,
    DeviceState,
    Event,
    Message,
    Reported,
    ReportedModel,
    Telemetry,
)
from server.ingest.bridge import Inbound
from server.ingest.presence import Presence, decide_presence
from server.rollout.desired import Resend, decide_resend, raised
from server.storage.devices import DeviceRecord
from server.storage.repository import Rows
from server.storage.rollouts import DeploymentRecord

logger = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, str]


@dataclass
class Effects:
    """What to do after the commit.

    Attributes:
        acks: Device and boot to the acknowledgement of its telemetry.
        bench_acks: Device and bench to the acknowledgement of that bench.
        resends: Devices whose desired document is to be sent again.
        seen: Devices that were heard of.
        wakes_rollouts: Whether rollouts have something new to look at.
    """

    acks: dict[Place, Ack] = field(default_factory=dict)
    bench_acks: dict[Place, BenchAck] = field(default_factory=dict)
    resends: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    wakes_rollouts: bool = False


def take_in(rows: Rows, inbound: Inbound, effects: Effects, now: datetime) -> None:
    """Take one message in; one of an unknown device is ignored."""
    device = rows.devices.find(inbound.device)
    if device is None:
        logger.info("message of unknown device %s ignored", inbound.device)
        return
    if not inbound.is_retained:
        effects.seen.add(device.id)
    message = inbound.message
    if isinstance(message, Telemetry):
        _take_telemetry(rows, device, message, effects, now)
    elif isinstance(message, DeviceState):
        _take_state(rows, device, message, effects, is_retained=inbound.is_retained)
    elif isinstance(message, Reported):
        _take_reported(rows, device, message, effects, now)
    elif isinstance(message, DeploymentChange):
        _take_change(rows, device, message, effects, now)
    elif isinstance(message, Bench):
        if rows.benches.add(device.id, message, at=now):
            logger.info("device %s sent bench %s of %s", device.id, message.id, message.result.model)
        effects.bench_acks[device.id, message.id] = BenchAck(v=WIRE_VERSION, id=message.id)
    else:
        _take_other(rows, device, message, now)


def _take_other(rows: Rows, device: DeviceRecord, message: Message, now: datetime) -> None:
    if isinstance(message, DeviceInfo):
        rows.devices.set_info(device.id, message)
    elif isinstance(message, Event):
        rows.events.add(device.id, message, at=now)
    else:
        logger.info("device %s sent a %s, which is not used", device.id, type(message).__name__)


def _take_telemetry(
    rows: Rows, device: DeviceRecord, message: Telemetry, effects: Effects, now: datetime
) -> None:
    new = rows.telemetry.add(device.id, message.boot, message.windows, at=now)
    if new < len(message.windows):
        logger.info("device %s sent %d windows again", device.id, len(message.windows) - new)
    if not message.windows:
        return
    # Cumulative, since MQTT keeps the order of one topic: what came before this was committed before it.
    place = (device.id, message.boot)
    newest = max(message.windows[-1].seq, effects.acks[place].seq if place in effects.acks else 0)
    effects.acks[place] = Ack(v=WIRE_VERSION, boot=message.boot, seq=newest)


def _take_state(
    rows: Rows, device: DeviceRecord, message: DeviceState, effects: Effects, *, is_retained: bool
) -> None:
    known = Presence(device.online, device.boot, device.session, device.agent_version)
    now_known = decide_presence(known, message, is_retained=is_retained)
    if message.online:
        effects.resends.add(device.id)
    if now_known == known:
        return
    rows.devices.set_presence(
        device.id,
        online=now_known.online,
        boot=now_known.boot,
        session=now_known.session,
        agent_version=now_known.agent_version,
    )
    effects.wakes_rollouts = True
    if now_known.online != known.online:
        word = "online" if now_known.online else "offline"
        logger.info("device %s is %s, session %d", device.id, word, now_known.session)


def _take_reported(
    rows: Rows, device: DeviceRecord, report: Reported, effects: Effects, now: datetime
) -> None:
    rows.devices.set_reported(device.id, report, at=now)
    effects.wakes_rollouts = True
    for model in report.models.values():
        _follow_report(rows, device, model, now)
    desired = rows.devices.desired(device.id)
    if desired is None:
        return
    resend = decide_resend(desired.document, report, now - desired.changed_at)
    if resend is Resend.RAISED:
        document = raised(desired.document, report.revision)
        rows.devices.set_desired(device.id, document, at=now)
        logger.warning("device %s disagrees, desired raised to revision %d", device.id, document.revision)
    if resend is not Resend.NOTHING:
        effects.resends.add(device.id)


def _follow_report(rows: Rows, device: DeviceRecord, model: ReportedModel, now: datetime) -> None:
    """Learn from a report what a lost change would have told: that a deployment began, or how it ended."""
    if model.state is None:
        return
    record = _open_deployment(rows, device, model.deployment)
    if record is None or (model.state not in ENDS and record.state is not State.ASSIGNED):
        return
    _enter(rows, record, model.state, model.reason, now, detail=model.detail)


def _take_change(
    rows: Rows, device: DeviceRecord, change: DeploymentChange, effects: Effects, now: datetime
) -> None:
    record = _open_deployment(rows, device, change.deployment)
    if record is None or change.step <= record.step:
        return
    effects.wakes_rollouts = True
    record = dataclasses.replace(
        record, step=change.step, bytes_done=change.bytes_done, seconds=change.seconds
    )
    _enter(rows, record, change.after, change.reason, now, detail=change.detail)


def _open_deployment(rows: Rows, device: DeviceRecord, deployment: str) -> DeploymentRecord | None:
    record = rows.rollouts.deployment(deployment)
    if record is None or record.device != device.id or record.state is None or record.state in ENDS:
        return None
    return record


def _enter(
    rows: Rows, record: DeploymentRecord, after: State, reason: Reason | None, now: datetime, *, detail: str
) -> None:
    is_failed = after is State.FAILED
    if after is not record.state:
        before = "none" if record.state is None else record.state.value
        logger.info(
            "device %s, deployment %s: %s -> %s %s",
            record.device,
            record.id,
            before,
            after.value,
            reason.value if reason is not None else "",
        )
    rows.rollouts.set_deployment(
        dataclasses.replace(
            record,
            state=after,
            reason=(reason or Reason.DEVICE) if is_failed else None,
            detail=detail,
            ended_at=now if after in ENDS else None,
        )
    )

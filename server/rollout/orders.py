"""From an operator's order to a rollout with its deployments; refuses what cannot work.

Guarantees: nothing is written unless the whole order can be carried out. Does not assign: see ``service``.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from contract.errors import ConflictError, IncompatibleError, NotFoundError
from contract.identifiers import nearest, parse_model, parse_version
from contract.messages import Desired, DesiredModel
from server.rollout.cohorts import check_shares, divide_devices
from server.rollout.desired import with_model
from server.rollout.engine import RolloutState
from server.storage.repository import Rows
from server.storage.rollouts import DeploymentRecord, RolloutRecord

MAX_TRIAL_S = 86400.0


@dataclass(frozen=True)
class RolloutOrder:
    """What an operator asks for.

    Attributes:
        model: Model name.
        version: Version to bring.
        devices: Which; None for all whose profile the release has a bundle for.
        shares: Cumulative share of the devices per phase; the last is 1.
        trial_s: How long each device watches the new version, seconds; 0 to ``MAX_TRIAL_S``.
    """

    model: str
    version: str
    devices: Sequence[str] | None
    shares: tuple[float, ...]
    trial_s: float = 0.0


def place_order(rows: Rows, order: RolloutOrder, now: datetime) -> RolloutRecord:
    """Record a rollout with all its deployments, none of them assigned.

    Raises:
        ManifestError: Model, version or phases are not usable.
        NotFoundError: There is no such release, device, or no device that it fits.
        IncompatibleError: The release has no bundle for a device's profile.
        ConflictError: A device is in a running rollout of this model, or its document would be too large.
    """
    parse_model(order.model)
    parse_version(order.version)
    check_shares(order.shares)
    rollout = RolloutRecord(
        id=secrets.token_hex(6),
        model=order.model,
        version=order.version,
        trial_s=order.trial_s,
        shares=order.shares,
        state=RolloutState.RUNNING,
        stop_wanted=False,
        reason="",
        created_at=now,
        ended_at=None,
    )
    devices = _choose_devices(rows, order)
    _check_free(rows, order.model, devices)
    deployments = _deployments(rollout, devices)
    for deployment in deployments:
        with_model(desired_document(rows, deployment.device), order.model, wanted_model(rollout, deployment))
    rows.rollouts.add(rollout, deployments)
    return rollout


def wanted_model(rollout: RolloutRecord, deployment: DeploymentRecord) -> DesiredModel:
    """What a deployment writes into its device's desired document."""
    return DesiredModel(
        version=rollout.version, deployment=deployment.id, rollout=rollout.id, trial_s=rollout.trial_s
    )


def desired_document(rows: Rows, device: str) -> Desired:
    """The desired document of a device.

    Raises:
        NotFoundError: There is no such device.
    """
    record = rows.devices.desired(device)
    if record is None:
        raise NotFoundError(f"there is no device {device[:80]!r}")
    return record.document


def _choose_devices(rows: Rows, order: RolloutOrder) -> list[str]:
    profiles = rows.releases.find(order.model, order.version)
    if not profiles:
        raise NotFoundError(
            f"there is no release {order.model} {order.version}", remedy=_release_hint(rows, order)
        )
    if order.devices is None:
        devices = rows.devices.of_profiles(profiles)
        if not devices:
            raise NotFoundError(
                f"no device has a profile of {order.model} {order.version}",
                remedy=f"add a device with one of: {', '.join(sorted(profiles))}",
            )
        return devices
    devices = list(dict.fromkeys(order.devices))
    if not devices:
        raise NotFoundError("a rollout needs at least one device")
    found = {device: rows.devices.find(device) for device in devices}
    unknown = [device for device, record in found.items() if record is None]
    if unknown:
        raise NotFoundError(f"unknown devices: {', '.join(device[:80] for device in unknown)}")
    misfits = [
        f"{record.id} is a {record.profile}"
        for record in found.values()
        if record is not None and record.profile not in profiles
    ]
    if misfits:
        raise IncompatibleError(
            f"{order.model} {order.version} has bundles for {', '.join(sorted(profiles))} only",
            faults=misfits,
        )
    return devices


def _release_hint(rows: Rows, order: RolloutOrder) -> str:
    releases = rows.releases.all()
    versions = [release.version for release in releases if release.model == order.model]
    if versions:
        return nearest(order.version, versions)
    return nearest(order.model, {release.model for release in releases}) if releases else "publish one first"


def _check_free(rows: Rows, model: str, devices: Collection[str]) -> None:
    for other in rows.rollouts.running():
        taken = {deployment.device for deployment in rows.rollouts.deployments(other.id)} & set(devices)
        if other.model == model and taken:
            raise ConflictError(
                f"rollout {other.id} of {model} {other.version} is running on {min(taken)}",
                remedy=f"wait for its end, or: litefleet rollouts stop {other.id}",
            )


def _deployments(rollout: RolloutRecord, devices: Collection[str]) -> list[DeploymentRecord]:
    return [
        DeploymentRecord(
            id=secrets.token_hex(8),
            rollout=rollout.id,
            device=device,
            phase=phase,
            state=None,
            reason=None,
            detail="",
            step=-1,
            bytes_done=0,
            seconds=0.0,
            previous_version="",
            is_set_back=False,
            ended_at=None,
        )
        for phase, members in enumerate(divide_devices(rollout.id, devices, rollout.shares))
        for device in members
    ]

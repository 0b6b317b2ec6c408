from __future__ import annotations

from typing import Any

from server.ctl.changes import describe_change, list_changes


def view(*deployments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "r", "state": "running", "phase": 0, "reason": "", "deployments": deployments} | changes


def entry(device: str, state: str | None, **changes: Any) -> dict[str, Any]:
    row = {"device": device, "phase": 0, "state": state, "reason": None, "detail": "", "bytes_done": 0}
    return row | {"deployment": "d", "seconds": 0.0} | changes


def test_the_first_look_tells_where_everything_stands() -> None:
    changes = list_changes(None, view(entry("a", "trial"), entry("b", None)))
    assert [describe_change(change) for change in changes] == ["rollout r running, phase 1", "a trial"]


def test_a_later_look_tells_what_changed() -> None:
    before = view(entry("a", "trial"), entry("b", None))
    failed = entry("b", "failed", reason="self-test", detail="3 of 4 differ")
    after = view(entry("a", "trial"), failed, state="stopped", reason="self-test")
    changes = list_changes(before, after)
    assert changes == [
        {
            "rollout": "r",
            "device": "b",
            "phase": 0,
            "state": "failed",
            "reason": "self-test",
            "detail": "3 of 4 differ",
            "bytes_done": 0,
        },
        {"rollout": "r", "state": "stopped", "phase": 0, "reason": "self-test"},
    ]
    assert [describe_change(change) for change in changes] == [
        "b failed: self-test (3 of 4 differ)",
        "rollout r stopped, phase 1: self-test",
    ]


def test_a_new_phase_is_told() -> None:
    assert list_changes(view(), view(phase=1)) == [
        {"rollout": "r", "state": "running", "phase": 1, "reason": ""}
    ]


def test_nothing_changed() -> None:
    assert list_changes(view(entry("a", "trial")), view(entry("a", "trial", bytes_done=9))) == []


def test_what_a_device_says_cannot_drive_the_terminal() -> None:
    (_, change) = list_changes(None, view(entry("a", "failed", reason="trial", detail="\x1b[2Jgone\n")))
    assert describe_change(change) == "a failed: trial (�[2Jgone�)"

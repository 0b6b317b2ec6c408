"""What changed in a rollout between two looks at it.

PURE. Rules:

1. The first look reports where every assigned device stands. A new phase is told before its devices, the end last.
2. A change is one JSON object: of the rollout when it has no ``device``, else of that device's deployment.
3. A line for people holds nothing that a terminal would obey: its texts come from devices.
"""

from __future__ import annotations

from typing import Any, TypeAlias

View: TypeAlias = dict[str, Any]
"""A rollout as the HTTP API gives it."""


def list_changes(before: View | None, after: View) -> list[dict[str, Any]]:
    """The changes from one look to the next; ``before`` is None at the first."""
    known = {} if before is None else {entry["device"]: entry for entry in before["deployments"]}
    changes = [
        {"rollout": after["id"]}
        | {key: entry[key] for key in ("device", "phase", "state", "reason", "detail", "bytes_done")}
        for entry in after["deployments"]
        if entry["state"] is not None and _differs(known.get(entry["device"]), entry)
    ]
    if before is None or before["state"] != after["state"] or before["phase"] != after["phase"]:
        change = {"rollout": after["id"]} | {key: after[key] for key in ("state", "phase", "reason")}
        return [change, *changes] if after["state"] == "running" else [*changes, change]
    return changes


def describe_change(change: dict[str, Any]) -> str:
    """A change in one line for people."""
    reason = f": {change['reason']}" if change["reason"] else ""
    if "device" not in change:
        return f"rollout {change['rollout']} {change['state']}, phase {change['phase'] + 1}{reason}"
    detail = f" ({change['detail']})" if change["detail"] else ""
    return printable(f"{change['device']} {change['state']}{reason}{detail}")


def printable(text: str) -> str:
    """The text with everything that is not printable replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def _differs(before: dict[str, Any] | None, after: dict[str, Any]) -> bool:
    return before is None or before["state"] != after["state"]

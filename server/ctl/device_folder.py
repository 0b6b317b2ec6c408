"""The folder that a new device is given: settings, password, trust root.

Guarantees: nothing is overwritten; the password is readable by its owner only. The folder is made before the server
is asked, so that a password, which is told once, is not lost to a folder that cannot be written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.errors import ConflictError, LitefleetError, StorageError

SETTINGS_NAME = "agent.toml"
PASSWORD_NAME = "password"  # noqa: S105 - a file name
ROOT_NAME = "root.json"
KEEPALIVE_S = 30
WINDOW_S = 10.0


def make_device_folder(folder: Path, ask: Callable[[], Any]) -> Any:
    """Make a device's folder from the server's answer.

    Args:
        folder: Where; made when missing.
        ask: Lets the device in; its answer as the HTTP API gives it.

    Returns:
        The answer.

    Raises:
        ConflictError: One of the files is there already, or the server knows the device.
        StorageError: The folder cannot be written.
        LitefleetError: As ``ask`` raises; the folder is then as before.
    """
    there = [name for name in (SETTINGS_NAME, PASSWORD_NAME, ROOT_NAME) if (folder / name).exists()]
    if there:
        raise ConflictError(
            f"{folder} already holds {', '.join(there)}", remedy="choose another folder with --output"
        )
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / PASSWORD_NAME, "", 0o600)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        answer = ask()
    except LitefleetError:
        (folder / PASSWORD_NAME).unlink()
        if is_new:
            folder.rmdir()
        raise
    try:
        (folder / PASSWORD_NAME).write_text(answer["mqtt"]["password"] + "\n", encoding="ascii")
        _write(folder / ROOT_NAME, answer["root"], 0o644)
        _write(folder / SETTINGS_NAME, render_settings(answer), 0o644)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written: {error.strerror}", remedy="add the device again under another id"
        ) from error
    return answer


def render_settings(answer: Any) -> str:
    """``agent.toml`` of a device; its paths are relative to the file."""
    mqtt = answer["mqtt"]
    tables: dict[str, dict[str, object]] = {
        "device": {
            "id": answer["id"],
            "profile": answer["profile"],
            "state_dir": "state",
            "run_dir": "run",
        },
        "server": {"url": answer["server_url"], "root": ROOT_NAME},
        "mqtt": {
            "host": mqtt["host"],
            "port": mqtt["port"],
            "prefix": mqtt["prefix"],
            "password_file": PASSWORD_NAME,
            "keepalive_s": KEEPALIVE_S,
        },
        "telemetry": {"window_s": WINDOW_S},
    }
    lines = ["# Settings of a litefleet agent; relative paths are relative to this file."]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        # JSON's strings and numbers are TOML's too.
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
